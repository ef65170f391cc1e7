"""Checkpoints that a crash or a full disk cannot destroy."""

import logging
import os
import re
from pathlib import Path
from typing import Any, Optional

from mmaction.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.runner import Runner

from pan_mm.utils.checkpoint import (
    check_finite,
    check_resumable,
    load_checkpoint_file,
    training_state,
)
from pan_mm.utils.errors import CheckpointError


class _RemovesLater:
    """A file backend that postpones removals, and removes only files of this run."""

    def __init__(self, backend, own):
        self.backend, self.own, self.waiting = backend, own, set()

    def __getattr__(self, name):
        return getattr(self.backend, name)

    def remove(self, path):
        self.waiting.add(path)

    def remove_now(self, keep):
        for path in self.waiting & self.own - keep:
            if self.backend.exists(path):
                self.backend.remove(path)
        self.waiting.clear()
        self.own |= keep


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """MMEngine's ``CheckpointHook``, with which a whole, finite checkpoint always remains.

    MMEngine removes first. If the process dies between, or the disk is full, the old checkpoint
    is lost and there is no new one. Here old files, only those that this run wrote (before it was
    resumed in the same folder, too), are removed when the new one is written. Weights, averages
    and optimizer states that are NaN or infinite are not written. The arguments are MMEngine's.

    Raises:
        CheckpointError: While saving, if a number is NaN or infinite.
    """

    def before_train(self, runner: Runner) -> None:
        """Take over a resumed run's files, and clear away what a killed run has half written."""
        # Taken out, as MMEngine would remove what exceeds max_keep_ckpts at once.
        kept = runner.message_hub.runtime_info.pop('keep_ckpt_ids', [])
        done = runner.epoch if self.by_epoch else runner.iter
        kept = [number for number in kept if type(number) is int and number <= done]
        super().before_train(runner)
        own: set = set()
        if _continues_in(self.out_dir, runner):
            names = [self.filename_tmpl.format(number) for number in kept]
            own = {*(os.path.join(self.out_dir, name) for name in names), *self._best()}
            if self.max_keep_ckpts > 0:
                self.keep_ckpt_ids.extend(kept)
        self.file_backend: Any = _RemovesLater(self.file_backend, own)
        if is_main_process():
            for part in Path(self.out_dir).glob('.*.pth.*.pth'):
                part.unlink(missing_ok=True)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Refuse NaN and infinite numbers."""
        check_finite(training_state(checkpoint), f'epoch {runner.epoch + 1}, not saved')

    def _save_checkpoint_with_step(self, *args, **kwargs):
        super()._save_checkpoint_with_step(*args, **kwargs)
        self.file_backend.remove_now({self.last_ckpt, *self._best()})

    def _save_best_checkpoint(self, *args):
        super()._save_best_checkpoint(*args)
        if isinstance(getattr(self, 'file_backend', None), _RemovesLater):  # not in validation
            self.file_backend.remove_now({self.last_ckpt, *self._best()})

    def _best(self):
        """Paths of the best checkpoints in this folder."""
        several = getattr(self, 'best_ckpt_path_dict', {}).values()
        paths = {getattr(self, 'best_ckpt_path', None), *several} - {None}
        prefix = os.path.join(self.out_dir, 'best_')
        return {path for path in paths if path.startswith(prefix)}


def _continues_in(folder: str, runner: Runner) -> bool:
    """Tell a run that was resumed from a checkpoint in its own folder."""
    resumed, source = runner._resume, runner._load_from
    if not resumed or not source:
        return bool(resumed)  # from the latest one there
    return os.path.realpath(os.path.dirname(source)) == os.path.realpath(folder)


def latest_checkpoint(work_dir: str) -> Optional[str]:
    """The last checkpoint that is whole; the log says which were passed over, and why.

    Args:
        work_dir (str): Folder of the run.

    Returns:
        str, optional: The file that ``last_checkpoint`` names, also in a folder that was moved, or
        the last ``epoch_N.pth`` or ``iter_N.pth``; None where no checkpoint was written.

    Raises:
        CheckpointError: If there are some, but none is whole.
    """
    note = Path(work_dir, 'last_checkpoint')
    # A process that died while writing may have left arbitrary bytes.
    named = note.read_bytes().decode(errors='replace').strip() if note.is_file() else ''
    found = [Path(work_dir, os.path.basename(named)), Path(named)]
    found = [path for path in found if path.is_file()][:1]
    pattern = re.compile(r'(?:epoch|iter)_(\d+)')
    files = [path for path in Path(work_dir).glob('*.pth') if pattern.fullmatch(path.stem)]
    found += sorted(files, key=lambda path: -int(pattern.fullmatch(path.stem)[1]))
    passed_over = []
    for path in dict.fromkeys(found):
        try:
            check_resumable(load_checkpoint_file(path), str(path))
        except (CheckpointError, OSError) as error:
            passed_over.append(f'\n  {error}')
            continue
        if passed_over:
            why = f'resuming from {path}; passed over:{"".join(passed_over)}'
            print_log(why, 'current', logging.WARNING)
        return str(path)
    if passed_over or named:
        raise CheckpointError(
            f'{work_dir} holds no whole checkpoint (last_checkpoint names {named or "none"}); name '
            f'one with --resume PATH, or remove the folder to start over{"".join(passed_over)}'
        )
    return None
