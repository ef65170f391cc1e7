"""A tiny recognizer on rendered clips, run by MMAction2's own tools."""

import functools
import importlib.util
import os
import pickle
import re
import runpy
import subprocess
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch

from builders import ROOT, tiny_config

TOOLS = Path(importlib.util.find_spec('mmaction').origin).parent / '.mim' / 'tools'


class Job:
    """One config with its work_dir, run by MMAction2's tools/train.py and test.py."""

    def __init__(self, folder, videos, launch, tsm=False, batch_size=2):
        self.launch = launch
        self.folder, self.work_dir = folder, folder / 'work'
        self.config, self.dump = folder / 'config.py', folder / 'scores.pkl'
        segments = dict(num_segments=4) if tsm else {}
        backbone = (
            dict(type='MobileNetV2TSM', pretrained2d=False) if tsm else dict(type='MobileNetV2')
        )
        backbone.update(segments, widen_factor=0.25, pretrained=None, _delete_=True)
        head = dict(type='TSMHead' if tsm else 'TSNHead', num_classes=2, in_channels=1280)
        head.update(segments, dropout_ratio=0.0, average_clips='prob', _delete_=True)
        changes = dict(
            custom_imports=dict(imports=['pan_mm'], allow_failed_imports=False),
            model=dict(backbone=backbone, cls_head=head),
            train_cfg=dict(max_epochs=1, val_interval=1),
            param_scheduler=[dict(type='MultiStepLR', milestones=[1], by_epoch=True, end=9)],
            custom_hooks=[dict(type='EMAHook')],
            visualizer=dict(type='ActionVisualizer', vis_backends=[dict(type='LocalVisBackend')]),
        )
        changes['default_hooks'] = dict(
            checkpoint=dict(_delete_=True, type='CheckpointHook', interval=1, save_best='auto'),
            visualization=dict(type='VisualizationHook'),
        )
        names = [f'{number}.mp4' for number in range(4)]
        cfg = tiny_config(folder, videos, names, also=['val', 'test'], **changes)
        cfg.train_dataloader.update(
            batch_size=batch_size, sampler=dict(type='DefaultSampler', shuffle=False)
        )
        cfg.train_dataloader.dataset.pipeline[1].test_mode = True  # the same frames in each process
        cfg.dump(self.config)

    def train(self, *args, **kwargs):
        self.run([('train', *args)], **kwargs)

    def test(self, checkpoint, *args, **kwargs):
        self.run([('test', checkpoint, *args)], **kwargs)

    def run(self, commands, processes=0, preamble='', check=True):
        """Run tools in turn, in this process or in ``processes`` of their own.

        ``preamble`` is Python that each of several processes runs first.
        """
        commands = [
            [str(TOOLS / f'{tool}.py'), str(self.config), *map(str, args)]
            + ['--work-dir', str(self.work_dir)]
            for tool, *args in commands
        ]
        if processes == 0:
            for command in commands:
                run_here(*command)
        elif processes == 1:
            for command in commands:
                succeed(run_python(*command))
        else:
            # One launch for all commands: starting processes takes longer than the work.
            commands = [[*command, '--launcher', 'pytorch'] for command in commands]
            script = self.folder / 'launched.py'
            script.write_text(
                f'import runpy, sys\n{preamble}\n'
                f'for sys.argv in {commands!r}:\n'
                "    runpy.run_path(sys.argv[0], run_name='__main__')\n"
            )
            result = self.launch(processes, script)
            if check:
                succeed(result)
            return result
        return None

    def scores(self):
        """Predicted scores, (N, 2), that test.py has left in ``dump``."""
        with self.dump.open('rb') as file:
            return np.stack([sample['pred_score'].numpy() for sample in pickle.load(file)])


def run_here(script, *args):
    with mock.patch.object(sys, 'argv', list(map(str, (script, *args)))):
        runpy.run_path(str(script), run_name='__main__')


def succeed(result):
    assert result.returncode == 0, result.stdout + result.stderr


def run_python(*args, path=()):
    """Run Python in a process of its own; ``path`` goes before the project on PYTHONPATH."""
    env = dict(os.environ, OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='')
    env['PYTHONPATH'] = os.pathsep.join(map(str, (*path, ROOT)))
    command = [sys.executable, *map(str, args)]
    return subprocess.run(command, env=env, capture_output=True, text=True)


@pytest.fixture
def make_job(tmp_path, videos, launch):
    def make(name='job', **kwargs):
        folder = tmp_path / name
        folder.mkdir()
        return Job(folder, videos, launch, **kwargs)

    return make


@pytest.fixture(scope='session')
def trained(tmp_path_factory, videos, launch):
    """A job that train.py, in a fresh process, has trained for one epoch."""
    job = Job(tmp_path_factory.mktemp('trained'), videos, launch)
    job.train(processes=1)
    return job


@pytest.fixture
def upstream_fault():
    """Context manager around what fails without a repair: ``upstream_fault(name, error, match)``.

    Where it has come to work, the repair is due to go: that is a warning, not a failure.
    """

    @contextmanager
    def expected(name, error, match=''):
        try:
            yield
        except error as raised:
            assert re.search(match, str(raised)), raised
        else:
            warnings.warn(f'the repair {name} is due to go: upstream works', stacklevel=3)

    return expected


@pytest.fixture
def python():
    """Function that runs a script in a process of its own."""
    return functools.partial(run_python, '-c')


@pytest.fixture
def evil_file(tmp_path):
    """A checkpoint that would create the file ``code-ran`` in ``tmp_path``."""

    class Payload:
        def __reduce__(self):
            return os.system, (f'touch {tmp_path / "code-ran"}',)

    path = tmp_path / 'evil.pth'
    torch.save(dict(state_dict={'weight': torch.zeros(1)}, meta=Payload()), path)
    return path
