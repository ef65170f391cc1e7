"""The benchmark of motion cues runs and computes what it says it times."""

import argparse
import json
import shutil
import timeit
from functools import partial

import av
import cv2
import numpy as np
import pytest
import torch
from cuda_emulator import Emulator

from benchmarks import motion
from benchmarks.timing import peak_of, time_in_turns
from pan_mm.ops import cuda, persistence, persistence_of_appearance
from pan_mm.ops.cpu import has_bfloat16_units
from pan_mm.ops.reference import persistence_reference


@pytest.fixture
def video(tmp_path):
    path = tmp_path / 'noise.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 25, (40, 32))
    for frame in np.random.default_rng(0).integers(0, 256, (6, 32, 40, 3), dtype=np.uint8):
        writer.write(frame)
    writer.release()
    return path


def test_the_baseline_equals_the_reference():
    frames, weight = torch.randn(2, 4, 3, 9, 10), torch.randn(8, 3, 7, 7)
    bias = torch.randn(8)
    expected = persistence_reference(frames, weight)
    maps = motion.naive_persistence(frames, weight, bias)
    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-4)


def test_memory_of_a_training_step():
    """The features of all frames are never held at once."""
    frames, weight = torch.randn(4, 4, 3, 112, 112), torch.randn(8, 3, 7, 7, requires_grad=True)
    bias = torch.zeros(8, requires_grad=True)
    torch.set_num_threads(1)
    naive = peak_of(lambda: motion.naive_persistence(frames, weight, bias).sum().backward(), 'cpu')
    fast = peak_of(
        lambda: persistence_of_appearance(frames, weight, backend='cpu').sum().backward(), 'cpu'
    )
    assert naive > 4 * 4 * 8 * 112 * 112 * 4, 'the features of all frames were not counted'
    assert fast <= naive / 6


@pytest.mark.slow
def test_report(video, tmp_path, capsys):
    out = tmp_path / 'results' / 'motion.json'
    options = '--sizes 40x32 --batch 2 --threads 1 --repeats 1 --warmup 1 --dtypes float32'
    motion.main([str(video), '--out', str(out), *options.split()])
    report = json.loads(out.read_text())
    assert report['environment']['torch'] == torch.__version__
    (result,) = report['results']
    assert (result['width'], result['height'], result['batch']) == (40, 32, 2)
    rows = {row['method']: row for row in result['methods']}
    assert {'naive', 'reference', 'cpu', 'frame difference', 'Farnebäck', 'DIS'} <= set(rows)
    assert all(row['frames_per_second'] > 0 for row in rows.values())
    for row in rows.values():
        assert row['frames_per_second'] * row['ms_per_frame'] == pytest.approx(1000)
    assert [row['method'] for row in result['training']] == ['naive', 'reference', 'cpu']
    printed = capsys.readouterr().out
    assert all(name in printed for name in rows)


def test_missing_video(tmp_path, capsys):
    with pytest.raises(SystemExit):
        motion.main([str(tmp_path / 'none.mp4')])
    assert 'is not a file' in capsys.readouterr().err


def test_undecodable_video(tmp_path, video, monkeypatch):
    path = tmp_path / 'text.mp4'
    path.write_text('no video')
    with pytest.raises(av.error.InvalidDataError, match='text.mp4'):
        motion.read_segments([path], 1, (40, 32))
    monkeypatch.setattr(motion, 'CLIP_LEN', 9)
    with pytest.raises(ValueError, match='noise.avi has 6 frames; 9 are needed'):
        motion.read_segments([video], 1, (40, 32))


def test_kernels_that_differ_are_not_timed(monkeypatch):
    monkeypatch.setattr(motion, 'fast_backends', lambda frames: ('cpu',))
    raw, weight = torch.randint(0, 256, (1, 2, 3, 8, 8)), torch.randn(8, 3, 7, 7)
    assert motion.check_kernels(raw, weight)['cpu'] <= 1e-5

    def compute(frames, filters, backend):
        return persistence_reference(frames, filters * (1.02 if backend == 'cpu' else 1))

    monkeypatch.setattr(motion, 'persistence_of_appearance', compute)
    with pytest.raises(RuntimeError, match='kernels differ from the reference'):
        motion.check_kernels(raw, weight)


def test_frames_as_in_training():
    frames = torch.randn(2, 4, 3, 8, 16)
    given = motion.channels_last(frames)
    assert torch.equal(given, frames)
    assert given.stride() == (4 * 8 * 16 * 3, 8 * 16 * 3, 1, 16 * 3, 3)
    weight = torch.randn(8, 3, 7, 7).bfloat16()
    maps = motion.in_training(frames, weight)['cpu'](given)
    assert maps.dtype == torch.float32  # of the frames
    error = (maps - persistence_reference(frames, weight.float())).abs().max()
    assert error < 3e-2 * maps.max()  # of autocast to the dtype of the filters
    assert error > 1e-4 or not has_bfloat16_units()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which('g++') is None, reason='no g++')
def test_what_a_gpu_is_timed_by(monkeypatch, tmp_path):
    """Both kernels, interpreted and emulated, through every line but the clock's."""
    pytest.importorskip('pan_mm.ops.gpu')
    once = partial(time_in_turns, repeats=1, warmup=0)
    for owner, name, value in (
        (motion, 'time_in_turns', lambda functions, repeats, warmup: once(functions)),
        (motion, 'is_gpu', lambda frames: True),
        (motion, 'CACHE_BYTES', 2**12),
        (motion, 'time_queued', lambda function, repeats: timeit.timeit(function, number=1)),
        (cuda, 'load', Emulator(tmp_path)),
        (persistence, '_has', lambda package: True),
        (persistence, '_runs_on_cpu', lambda backend: True),
        (persistence, '_unusable', {}),
    ):
        monkeypatch.setattr(owner, name, value)
    segments = np.random.default_rng(0).integers(0, 256, (1, 4, 8, 16, 3), dtype=np.uint8)
    args = argparse.Namespace(device='cpu', repeats=1, warmup=0)
    result = motion.measure(segments, 'bfloat16', args)
    assert all(error < 3e-2 for error in result['errors'].values())
    methods, training = (
        {row['method']: row for row in result[part]} for part in ('methods', 'training')
    )
    assert all(row['queued_frames_per_second'] > 0 for row in methods.values())
    assert all(row['queued_ms'] > 0 for row in training.values())
    ways = ('naive', 'reference', 'triton', 'cuda')
    as_in_training = [f'{name}, as in training' for name in ways]
    assert list(training) == [*ways, *as_in_training]
    kernels = ['triton, from uint8', 'cuda, from uint8']
    assert list(methods) == [*ways, 'frame difference', *kernels, *as_in_training]


@pytest.mark.parametrize('when', ['before', 'in'])
def test_plain_operators_are_not_timed_for_a_kernel(monkeypatch, when):
    monkeypatch.setattr(motion, 'fast_backends', lambda frames: ('cuda',))
    monkeypatch.setattr(persistence, '_unusable', {})
    persistence._say_once.cache_clear()
    if when == 'in':
        monkeypatch.setattr(persistence, '_has', lambda package: True)
        monkeypatch.setattr(persistence, '_runs_on_cpu', lambda backend: True)
    raw, weight = torch.randint(0, 256, (1, 2, 3, 8, 8)), torch.randn(8, 3, 7, 7)
    with (
        pytest.warns(UserWarning),
        pytest.raises(RuntimeError, match='reference would be timed'),
    ):
        motion.check_kernels(raw, weight)
    assert bool(persistence._unusable) == (when == 'in')  # a GPU's kernel, without one
