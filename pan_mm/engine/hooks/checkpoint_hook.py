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

    def __init__(self, backend):
        self.backend = backend
        self.own = set()
        self.waiting = []

    def __getattr__(self, name):
        return getattr(self.backend, name)

    def remove(self, path):
        self.waiting.append((self.backend.remove, path))

    def rmtree(self, path):
        self.waiting.append((self.backend.rmtree, path))

    def remove_now(self, keep):
        waiting, self.waiting = self.waiting, []
        for remove, path in waiting:
            if path in self.own - keep and self.backend.exists(path):
                remove(path)
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
        self.file_backend: Any = _RemovesLater(self.file_backend)
        if _continues_in(self.out_dir, runner):
            files = [self._path(self.filename_tmpl.format(number)) for number in kept]
            self.file_backend.own = {*files, *self._best()}
            if self.max_keep_ckpts > 0:
                for path in files[: -self.max_keep_ckpts]:
                    self.file_backend.remove(path)
                self.keep_ckpt_ids.extend(kept)
                runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        if is_main_process():
            for part in Path(self.out_dir).glob('.*.pth.*.pth'):
                part.unlink(missing_ok=True)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Refuse NaN and infinite numbers."""
        check_finite(training_state(checkpoint), f'epoch {runner.epoch + 1}, not saved')

    def after_train_epoch(self, runner: Runner) -> None:
        """Save, then remove the old checkpoints."""
        super().after_train_epoch(runner)
        self._remove_old()

    def after_train_iter(self, runner: Runner, *args, **kwargs) -> None:
        """Save, then remove the old checkpoints."""
        super().after_train_iter(runner, *args, **kwargs)
        self._remove_old()

    def after_val_epoch(self, runner: Runner, metrics: dict) -> None:
        """Save the best, then remove the one that was best before."""
        super().after_val_epoch(runner, metrics)
        self._remove_old()

    def _path(self, name):
        return self.file_backend.join_path(self.out_dir, name)

    def _best(self):
        """Paths of the best checkpoints in this folder."""
        best = [
            getattr(self, 'best_ckpt_path', None),
            *getattr(self, 'best_ckpt_path_dict', {}).values(),
        ]
        names = (os.path.basename(path) for path in best if path)
        return {self._path(name) for name in names if name.startswith('best_')} & {*best}

    def _remove_old(self):
        if isinstance(getattr(self, 'file_backend', None), _RemovesLater):  # not in validation
            self.file_backend.remove_now({self.last_ckpt, *self._best()})


def _continues_in(folder: str, runner: Runner) -> bool:
    """Tell a run that was resumed from a checkpoint in its own folder."""
    resumed, source = getattr(runner, '_resume', False), getattr(runner, '_load_from', None)
    source = resumed if isinstance(resumed, str) else source
    if not source:
        return bool(resumed)  # from the latest one there
    return bool(resumed) and os.path.realpath(os.path.dirname(source)) == os.path.realpath(folder)


def latest_checkpoint(work_dir: str) -> Optional[str]:
    """The checkpoint to resume from: the last one that is whole.

    Each is read to its end. The log says which were passed over, and why.

    Args:
        work_dir (str): Folder of the run.

    Returns:
        str, optional: The file that ``last_checkpoint`` names (in a folder that was copied or
        moved, the file there of that name), or the last ``epoch_N.pth`` or ``iter_N.pth``;
        None where no checkpoint was written.

    Raises:
        FileNotFoundError: If ``last_checkpoint`` names none that is there, and none is.
        CheckpointError: If there are some, but none is whole.
    """
    note = Path(work_dir, 'last_checkpoint')
    # A process that died while writing may have left arbitrary bytes.
    named = note.read_bytes().decode(errors='replace').strip() if note.is_file() else ''
    places = (os.path.join(work_dir, os.path.basename(named)), named)
    candidates = [place for place in places if os.path.isfile(place)][:1]
    numbered = {}
    for file in Path(work_dir).glob('*_*.pth'):
        match = re.fullmatch(r'(?:epoch|iter)_(\d+)\.pth', file.name)
        if match and str(file) not in candidates:
            numbered[int(match.group(1))] = str(file)
    passed_over = []
    for path in (*candidates, *(numbered[number] for number in sorted(numbered, reverse=True))):
        try:
            check_resumable(load_checkpoint_file(path), path)
        except (CheckpointError, OSError) as error:
            passed_over.append(f'\n  {error}')
            continue
        if passed_over:
            why = f'resuming from {path}; passed over:{"".join(passed_over)}'
            print_log(why, 'current', logging.WARNING)
        return path
    fix = 'name one with --resume PATH, or remove the folder to start over'
    if passed_over:
        raise CheckpointError(f'{work_dir} holds no whole checkpoint; {fix}:{"".join(passed_over)}')
    if note.is_file():
        raise FileNotFoundError(
            f'{note} names {named or "nothing"}, which is not there, and {work_dir} holds no other '
            f'checkpoint; {fix}'
        )
    return None
