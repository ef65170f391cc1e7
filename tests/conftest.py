"""Fixtures shared by all tests."""

import gc
import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

# A run in the background ignores these signals, and so would each process that a test starts.
for name, handler in dict(SIGINT=signal.default_int_handler, SIGHUP=signal.SIG_DFL).items():
    number = getattr(signal, name, None)
    if number is not None and signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)

# Workers of pytest-xdist share the cores; torch reads this when it is imported.
if 'PYTEST_XDIST_WORKER' in os.environ:
    os.environ.setdefault('OMP_NUM_THREADS', '1')

import torch  # noqa: E402
from mmengine.logging import MMLogger  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402
from mmengine.visualization import Visualizer  # noqa: E402

# Triton's interpreter stands in for a GPU; kernels ask for it when they are defined, by whichever
# test imports them first.
if not torch.cuda.is_available():
    os.environ.setdefault('TRITON_INTERPRET', '1')

import formatting  # noqa: E402, F401
from triton_interpreter import BFLOAT16  # noqa: E402

from builders import write_checkpoint, write_config, write_trained_model  # noqa: E402
from pan_mm.compat.repair import install  # noqa: E402

install(BFLOAT16)

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / 'shared'


def pytest_collection_modifyitems(items):
    """Slow tests first in each process, so that none is left with one when the others have ended.

    pytest-xdist begins with an equal share of the list for each process.
    """
    workers = int(os.environ.get('PYTEST_XDIST_WORKER_COUNT', 1))
    slow, fast = [], []
    for item in items:
        (slow if item.get_closest_marker('slow') else fast).append(item)
    files = list(dict.fromkeys(item.path for item in slow))  # whose fixtures are made once
    share, ordered = len(items) // workers, []
    for worker in range(workers):
        own = [item for item in slow if files.index(item.path) % workers == worker]
        left = max(share - len(own), 0) if worker < workers - 1 else len(fast)
        ordered += own + fast[:left]
        del fast[:left]
    items[:] = ordered


def pytest_collection_finish():
    """What is there now stays; searching it for garbage took a fifth of the time.

    What comes and goes later is searched less often than by default.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)


def _scheduling():
    return hasattr(os, 'sched_getscheduler') and os.sched_getscheduler(0)  # Linux


SCHEDULING = _scheduling()


@pytest.fixture(autouse=True)
def scheduling_stays():
    """A test that leaves its process at a real-time priority would starve all others."""
    yield
    assert _scheduling() == SCHEDULING


@pytest.fixture(autouse=True)
def loggers_stay():
    """MMEngine writes to the files of its last logger, also where others have closed them.

    Uvicorn does so with all handlers of the process when it sets up its own.
    """
    before = dict(MMLogger._instance_dict)
    yield
    for name, logger in list(MMLogger._instance_dict.items()):
        if name not in before or any(getattr(h, 'stream', '') is None for h in logger.handlers):
            del MMLogger._instance_dict[name]
            for handler in logger.handlers:
                handler.close()


@pytest.fixture(autouse=True)
def visualizers_end():
    """MMEngine names them by the second: two runs within one would share the first one's folder."""
    yield
    for cls in (Visualizer, *Visualizer.__subclasses__()):
        cls._instance_dict.clear()


def _shared(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f'{name} is not available beside the project')
    return path


@pytest.fixture(scope='session')
def parity_dir() -> Path:
    """Folder of the fixtures computed by the authors' code."""
    return ROOT / 'tests' / 'data' / 'parity'


@pytest.fixture(scope='session')
def clips_dir() -> Path:
    """Folder of real video clips, an MMAction2 ``data_root``."""
    return _shared('data/clips')


@pytest.fixture(scope='session')
def jhmdb_dir() -> Path:
    """Folder of real videos of 21 everyday actions, an MMAction2 ``data_root``."""
    return _shared('data/jhmdb21')


@pytest.fixture(scope='session')
def fixture_value(parity_dir):
    """What the parity fixtures' models hold: ``fixture_value(key, shape)`` as a tensor.

    ``fixture_value.frames()`` is their input, (N, T, m, C, H, W).
    """
    spec = importlib.util.spec_from_file_location(
        'make_checkpoint', parity_dir / 'make_checkpoint.py'
    )
    rule = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rule)

    def value(key, shape):
        return torch.from_numpy(np.ascontiguousarray(rule.value(key, shape)))

    value.frames = lambda: torch.from_numpy(rule.frames())
    return value


@pytest.fixture(scope='session', autouse=True)
def mmaction_scope():
    """Types in configs mean MMAction2's, as under its runner."""
    init_default_scope('mmaction')


@pytest.fixture(scope='session')
def videos(tmp_path_factory) -> Path:
    """Folder of four small videos, ``0.mp4`` … ``3.mp4`` (12, 20, 28, 36 frames, 64 × 48)."""
    folder = tmp_path_factory.mktemp('videos')
    rng = np.random.default_rng(0)
    for index in range(4):
        fourcc = cv2.VideoWriter_fourcc(*'mp4v')
        writer = cv2.VideoWriter(str(folder / f'{index}.mp4'), fourcc, 25, (64, 48))
        picture = cv2.resize(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8), (128, 96))
        for frame in range(12 + 8 * index):
            writer.write(np.roll(picture, frame * (index + 1), axis=1)[:48, :64].copy())
        writer.release()
    return folder


class ToolRunner:
    """Runs scripts as a user does, but in processes that need not import PyTorch first."""

    def __init__(self, folder):
        self.out = str(folder / 'out')
        self.server = subprocess.Popen(
            [sys.executable, '-W', 'ignore', Path(__file__).with_name('fork_server.py')],
            env=dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1'),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, script, *args, cwd=ROOT, check=False, **variables):
        """Run a script or a module of the project; returns the CompletedProcess, with its text."""
        script = str(script)
        argv = [str(ROOT / script) if script.endswith('.py') else script, *map(str, args)]
        env = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1', **variables)
        request = dict(argv=argv, cwd=str(cwd), env=env, out=self.out)
        try:
            print(json.dumps(request), file=self.server.stdin, flush=True)
            status = int(self.server.stdout.readline())
        except BaseException:  # its answer would be taken for that of the next script
            self.server.kill()
            raise
        outputs = [Path(path).read_text('utf-8') for path in (self.out, f'{self.out}.err')]
        done = subprocess.CompletedProcess(argv, status, *outputs)
        assert not check or status == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done


@pytest.fixture(scope='session')
def run_tool(tmp_path_factory):
    """Runs a script of the project in a process of its own: a :class:`ToolRunner`."""
    runner = ToolRunner(tmp_path_factory.mktemp('tools'))
    yield runner
    runner.server.stdin.close()
    try:
        runner.server.wait(30)
    except subprocess.TimeoutExpired:  # a process forked from this one still holds its input open
        runner.server.kill()


@pytest.fixture(scope='session')
def launch(run_tool):
    """Runs a script in processes that talk by Gloo: ``launch(processes, script, *args)``."""
    return lambda processes, script, *args: run_tool(
        'tests/launched.py', processes, script, *args, CUDA_VISIBLE_DEVICES=''
    )


@pytest.fixture(scope='session')
def make_config(tmp_path_factory):
    """:func:`builders.write_config` into a folder of its own."""
    return lambda *args, **kwargs: write_config(tmp_path_factory.mktemp('config'), *args, **kwargs)


@pytest.fixture(scope='session')
def make_checkpoint(tmp_path_factory):
    """:func:`builders.write_checkpoint` into a folder of its own."""
    return lambda config, **meta: write_checkpoint(
        tmp_path_factory.mktemp('checkpoint'), config, **meta
    )


@pytest.fixture(scope='session')
def config(make_config):
    return make_config()


@pytest.fixture(scope='session')
def checkpoint(make_checkpoint, config):
    return make_checkpoint(config)


@pytest.fixture(scope='session')
def trained_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('pretrained')
    write_trained_model(folder)
    return folder


@pytest.fixture
def trained(trained_folder, monkeypatch):
    """Name of a model that comes with the package: random weights of EfficientNet-Lite0."""
    monkeypatch.setattr('pan_mm.inference.zoo.PRETRAINED', trained_folder)
    return 'pan-test'


@pytest.fixture
def inductor_cache(tmp_path_factory, monkeypatch):
    """A cache of the compiler that all processes of a test run share; its headers take seconds."""
    folder = tmp_path_factory.getbasetemp()
    if 'PYTEST_XDIST_WORKER' in os.environ:
        folder = folder.parent
    monkeypatch.setenv('TORCHINDUCTOR_CACHE_DIR', str(folder / 'inductor'))
