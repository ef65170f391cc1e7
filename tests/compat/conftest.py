"""A tiny recognizer on rendered clips, run by MMAction2's own tools."""

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

import pan_mm  # noqa: F401  first: mmaction.models is not importable without it

ROOT = Path(__file__).resolve().parents[2]
TOOLS = Path(importlib.util.find_spec('mmaction').origin).parent / '.mim' / 'tools'

CONFIG = """
custom_imports = dict(imports=['pan_mm'], allow_failed_imports=False)
default_scope = 'mmaction'
model = dict(
    type='Recognizer2D',
    backbone=dict(type={backbone!r}, widen_factor=0.25, pretrained=None{backbone_args}),
    cls_head=dict(type={head!r}, num_classes=2, in_channels=1280, dropout_ratio=0.0,
                  average_clips='prob'{head_args}),
    data_preprocessor=dict(type='ActionDataPreprocessor', mean=[123.675, 116.28, 103.53],
                           std=[58.395, 57.12, 57.375], format_shape='NCHW'))
pipeline = [
    dict(type='OpenCVInit'),
    dict(type='SampleFrames', clip_len=1, frame_interval=1, num_clips=4, test_mode=True),
    dict(type='OpenCVDecode'),
    dict(type='Resize', scale=(32, 32), keep_ratio=False),
    dict(type='FormatShape', input_format='NCHW'),
    dict(type='PackActionInputs')]
dataset = dict(type='VideoDataset', ann_file={ann_file!r}, data_prefix=dict(video={root!r}),
               pipeline=pipeline)
train_dataloader = dict(batch_size={batch_size}, num_workers=0, dataset=dataset,
                        sampler=dict(type='DefaultSampler', shuffle=False))
val_dataloader = dict(batch_size=2, num_workers=0, dataset=dict(test_mode=True, **dataset),
                      sampler=dict(type='DefaultSampler', shuffle=False))
test_dataloader = val_dataloader
val_evaluator = dict(type='AccMetric')
test_evaluator = val_evaluator
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(type='OptimWrapper',
                     optimizer=dict(type='SGD', lr=0.01, momentum=0.9,
                                    weight_decay=1e-4))
param_scheduler = [dict(type='MultiStepLR', milestones=[1], by_epoch=True, end=9)]
default_hooks = dict(
    checkpoint=dict(type='CheckpointHook', interval=1, save_best='auto'),
    logger=dict(type='LoggerHook', interval=1),
    visualization=dict(type='VisualizationHook'))
custom_hooks = [dict(type='EMAHook')]
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='ActionVisualizer', vis_backends=vis_backends)
randomness = dict(seed=0)
experiment_name = {name!r}  # or else two runs of a second would write one log
"""


@pytest.fixture(scope='session')
def rendered(tmp_path_factory, videos):
    """Folder of four mp4 clips, and their annotation list ``list.txt``."""
    folder = tmp_path_factory.mktemp('rendered')
    for video in videos.glob('*.mp4'):
        (folder / video.name).symlink_to(video)
    (folder / 'list.txt').write_text(''.join(f'{i}.mp4 {i % 2}\n' for i in range(4)))
    return folder


class Job:
    """One config with its work_dir, run by MMAction2's tools/train.py and test.py."""

    def __init__(self, folder, rendered, launch, tsm=False, batch_size=2):
        self.launch = launch
        self.folder, self.work_dir = folder, folder / 'work_dir'
        self.config, self.dump = folder / 'config.py', folder / 'scores.pkl'
        self.config.write_text(
            CONFIG.format(
                backbone='MobileNetV2TSM' if tsm else 'MobileNetV2',
                backbone_args=', num_segments=4, pretrained2d=False' if tsm else '',
                head='TSMHead' if tsm else 'TSNHead',
                head_args=', num_segments=4' if tsm else '',
                ann_file=str(rendered / 'list.txt'),
                root=str(rendered),
                batch_size=batch_size,
                name=folder.name,
            )
        )

    def train(self, *args, **kwargs):
        self.run([('train', *args)], **kwargs)

    def test(self, checkpoint, *args, **kwargs):
        self.run([('test', checkpoint, *args)], **kwargs)

    def run(self, commands, processes=0, preamble='', launch=None, check=True):
        """Run tools in turn, in this process or in ``processes`` of their own.

        ``preamble`` is Python that each of several processes runs first; ``launch`` starts them.
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
            result = (launch or self.launch)(processes, script)
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


def run_python(*args, path=(), **kwargs):
    """Run Python in a process of its own; ``path`` goes before the project on PYTHONPATH."""
    environment = {
        **os.environ,
        'PYTHONPATH': os.pathsep.join(map(str, (*path, ROOT))),
        'OMP_NUM_THREADS': '1',
        'CUDA_VISIBLE_DEVICES': '',
    }
    return subprocess.run(
        [sys.executable, *map(str, args)],
        capture_output=True,
        text=True,
        env=environment,
        **kwargs,
    )


@pytest.fixture
def torchrun():
    """``launch`` by the launcher itself, which tells how each of its processes ended."""
    command = ('-m', 'torch.distributed.run', '--standalone', '--nproc_per_node')
    return lambda processes, script: run_python(*command, processes, script)


@pytest.fixture
def make_job(tmp_path, rendered, launch):
    def make(name='job', **kwargs):
        folder = tmp_path / name
        folder.mkdir()
        return Job(folder, rendered, launch, **kwargs)

    return make


@pytest.fixture(scope='session')
def trained(tmp_path_factory, rendered, launch):
    """A job that train.py, in a fresh process, has trained for one epoch."""
    job = Job(tmp_path_factory.mktemp('trained'), rendered, launch)
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
    return lambda script, **kwargs: run_python('-c', script, **kwargs)


@pytest.fixture
def evil_file(tmp_path):
    """A checkpoint that would create the file ``code-ran`` in ``tmp_path``."""

    class Payload:
        def __reduce__(self):
            return os.system, (f'touch {tmp_path / "code-ran"}',)

    path = tmp_path / 'evil.pth'
    torch.save(dict(state_dict={'weight': torch.zeros(1)}, meta=Payload()), path)
    return path
