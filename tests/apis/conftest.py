"""A small PAN with random weights, as files."""

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from pan_mm.apis.recognizer import load_recognizer

ROOT = Path(__file__).resolve().parents[2]
NUM_CLASSES = 19

CONFIG = """
_base_ = ['{root}/configs/_base_/models/pan_r18.py', '{root}/configs/_base_/default_runtime.py']
model = dict(
    backbone=dict(stream='{stream}', num_segments=4),
    cls_head=dict(num_classes={num_classes}, num_segments=4),
)
test_pipeline = [
    dict(type='VideoInit'),
    dict(type='PANSampleFrames', clip_len=4, num_clips=4, test_mode=True),
    dict(type='VideoDecode'),
    dict(type='Resize', scale=(-1, 72)),
    dict(type='CenterCrop', crop_size=64),
    dict(type='FormatShape', input_format='NCHW'),
    dict(type='PackActionInputs'),
]
"""


@pytest.fixture(scope='session')
def make_config(tmp_path_factory):
    """Write a config of a PAN on a ResNet-18, 64 pixels, 4 segments; returns its path."""

    def make(stream='lite', num_classes=NUM_CLASSES, more=''):
        path = tmp_path_factory.mktemp('config') / f'pan_{stream}_r18.py'
        text = CONFIG.format(root=ROOT.as_posix(), stream=stream, num_classes=num_classes)
        path.write_text(text + more)
        return path

    return make


@pytest.fixture(scope='session')
def make_checkpoint(tmp_path_factory):
    """Save random weights that tell videos apart, for a config; returns the file's path."""

    def make(config, **meta):
        torch.manual_seed(0)
        model = load_recognizer(config, device='cpu')
        for name, weight in model.named_parameters():
            if 'cls_head' in name or 'persistence' in name:
                torch.nn.init.normal_(weight, std=0.3)
        path = tmp_path_factory.mktemp('checkpoint') / 'pan.pth'
        torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
        return path

    return make


@pytest.fixture(scope='session')
def config(make_config):
    return make_config()


@pytest.fixture(scope='session')
def checkpoint(make_checkpoint, config):
    return make_checkpoint(config)


@pytest.fixture
def inductor_cache(tmp_path_factory, monkeypatch):
    """A cache of the compiler that all processes of a test run share; its headers take seconds."""
    folder = tmp_path_factory.getbasetemp()
    if 'PYTEST_XDIST_WORKER' in os.environ:
        folder = folder.parent
    monkeypatch.setenv('TORCHINDUCTOR_CACHE_DIR', str(folder / 'inductor'))


@pytest.fixture
def unreadable():
    """Makes a copy of a file that may not be read, also not by root, while the context lasts."""

    @contextmanager
    def make(path):
        user = os.geteuid()
        with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to others
            Path(folder).chmod(0o755)
            copy = Path(folder) / path.name
            shutil.copyfile(path, copy)
            copy.chmod(0)
            if user == 0:
                os.seteuid(65534)
            try:
                yield copy
            finally:
                os.seteuid(user)

    return make
