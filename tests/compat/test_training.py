"""MMAction2's own tools, unmodified, on a config whose custom_imports name pan_mm.

Each by itself is a row of docs/mmaction2.yml, which tests/benchmarks/pages/test_mmaction2.py runs.
"""

import importlib.util
import json
import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from builders import tiny_config
from pan_mm.utils.checkpoint import load_checkpoint_file

pytestmark = pytest.mark.slow
TOOLS = Path(importlib.util.find_spec('mmaction').origin).parent / '.mim' / 'tools'


class Job:
    """A config with its folder, run by MMAction2's tools/train.py and test.py."""

    def __init__(self, folder, videos, batch_size=2):
        folder.mkdir()
        self.config, self.work_dir = folder / 'config.py', folder / 'work'
        self.dump = folder / 'scores.pkl'
        # Batch norms would see other batches in each process, so they keep their statistics.
        backbone = dict(type='MobileNetV2', widen_factor=0.25, norm_eval=True)
        changes = dict(
            custom_imports=dict(imports=['pan_mm']),
            model=dict(backbone=backbone, cls_head=dict(in_channels=1280, dropout_ratio=0.0)),
            param_scheduler=[dict(type='MultiStepLR', milestones=[1], by_epoch=True, end=9)],
            custom_hooks=[dict(type='EMAHook')],
            default_hooks=dict(checkpoint=dict(_delete_=True, type='CheckpointHook', interval=1)),
        )
        names = [f'{number}.mp4' for number in range(4)]
        cfg = tiny_config(folder, videos, names, also=['val', 'test'], **changes)
        cfg.train_dataloader.update(
            batch_size=batch_size, sampler=dict(type='DefaultSampler', shuffle=False)
        )
        cfg.train_dataloader.dataset.pipeline[1].test_mode = True  # the same frames in each process
        cfg.dump(self.config)

    def script(self, *commands, launcher='none', preamble=''):
        """Python that runs ``preamble``, then tools, (tool, argument, …), in turn.

        All in one process, as starting it takes longer than the work.
        """
        lines = [
            [str(TOOLS / f'{tool}.py'), str(self.config), *map(str, args)]
            + ['--work-dir', str(self.work_dir), '--launcher', launcher]
            for tool, *args in commands
        ]
        return (
            f'import runpy, sys\n{preamble}\n'
            f'for sys.argv in {lines!r}:\n'
            "    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        )

    def weights(self):
        return load_checkpoint_file(self.work_dir / 'epoch_2.pth')['state_dict']

    def scores(self):
        """Predicted scores, (N, 2), that test.py has left in ``dump``."""
        with self.dump.open('rb') as file:
            return np.stack([sample['pred_score'].numpy() for sample in pickle.load(file)])

    def accuracy(self):
        """The last one that a test has written."""
        files = sorted(self.work_dir.glob('*/*.json'))
        found = [json.loads(path.read_text().splitlines()[-1]) for path in files]
        return [line['acc/top1'] for line in found if 'acc/top1' in line][-1]


def test_malicious_checkpoint_is_refused_by_the_tool(videos, python, tmp_path):
    class Payload:
        def __reduce__(self):
            return os.system, (f'touch {tmp_path / "code-ran"}',)

    path = tmp_path / 'evil.pth'
    torch.save(dict(state_dict={'weight': torch.zeros(1)}, meta=Payload()), path)
    done = python(Job(tmp_path / 'job', videos).script(('test', path)))
    assert re.search('CheckpointError: .*evil.pth was refused.*system', done.stderr), done.stderr
    assert not (tmp_path / 'code-ran').exists()


KILL_RANK_1 = """
import faulthandler
import os
from pathlib import Path
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

faulthandler.dump_traceback_later(600, exit=True)  # should they wait for the killed one
rank = os.environ['RANK']
Path(__file__).with_name(f'pid{rank}').write_text(str(os.getpid()))

@HOOKS.register_module()
class Dies(Hook):
    def before_train_iter(self, runner, **kwargs):
        if runner.iter == 3 and rank == '1':
            os.kill(os.getpid(), 9)
"""


def test_three_processes_equal_one_also_after_one_was_killed(videos, python, launch, tmp_path):
    """Six clips to train, so that the batches are the same; five to test, which leaves one over."""
    for name, count in (('six', 6), ('five', 5)):
        lines = ''.join(f'{i % 4}.mp4 {i % 2}\n' for i in range(count))
        (tmp_path / name).write_text(lines)
    options = [
        '--cfg-options',
        f'train_dataloader.dataset.ann_file={tmp_path}/six',
        f'val_dataloader.dataset.ann_file={tmp_path}/five',
        f'test_dataloader.dataset.ann_file={tmp_path}/five',
    ]
    one, three = Job(tmp_path / 'one', videos, 3), Job(tmp_path / 'three', videos, 1)

    def commands(job):
        train = ('train', '--resume', *options, 'custom_hooks=[]')
        scores = ('--dump', job.dump, *options, 'custom_hooks=[]')
        return [train, ('test', job.work_dir / 'epoch_2.pth', *scores)]

    def launched(*commands, preamble=''):
        path = tmp_path / 'three' / 'launched.py'
        path.write_text(three.script(*commands, launcher='pytorch', preamble=preamble))
        return launch(3, path)

    result = python(one.script(*commands(one)))
    assert result.returncode == 0, result.stdout + result.stderr
    # The config's own hook becomes the deadly one.
    result = launched(('train', *options, 'custom_hooks.0.type=Dies'), preamble=KILL_RANK_1)
    assert result.returncode != 0
    # Another process may lose its connection, and end, before the launcher looks at the killed one.
    assert re.search('Signal 9 .SIGKILL|remote worker', result.stdout + result.stderr)
    for rank in range(3):
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / 'three' / f'pid{rank}').read_text()), 0)
    assert not (three.work_dir / 'epoch_2.pth').exists()

    result = launched(*commands(three))
    assert result.returncode == 0, result.stdout + result.stderr
    found, expected = three.weights(), one.weights()
    assert found.keys() == expected.keys()
    for key in found:
        torch.testing.assert_close(found[key], expected[key], rtol=1e-5, atol=1e-6, msg=key)
    assert three.scores().shape == (5, 2)
    np.testing.assert_allclose(three.scores(), one.scores(), rtol=1e-5)
    assert three.accuracy() == one.accuracy()
