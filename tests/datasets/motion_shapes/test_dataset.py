import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import decord
import numpy as np
import pytest
import torch
from mmaction.registry import DATASETS
from mmengine.registry import init_default_scope

import pan_mm  # noqa: F401  registers the dataset
from pan_mm.datasets.motion_shapes.dataset import render_motion_shapes
from pan_mm.datasets.motion_shapes.render import CLASSES

ROOT = Path(__file__).resolve().parents[3]
FEW = dict(num_train=24, num_val=12, num_test=12)
PIPELINE = [
    dict(type='DecordInit', num_threads=1),
    dict(type='SampleFrames', clip_len=4, frame_interval=1, num_clips=8),
    dict(type='DecordDecode'),
    dict(type='FormatShape', input_format='NCHW'),
    dict(type='PackActionInputs'),
]


@pytest.fixture(scope='module')
def rendered(tmp_path_factory):
    root = tmp_path_factory.mktemp('motion') / 'shapes'
    render_motion_shapes(root, **FEW)
    return root


@pytest.fixture
def build():
    init_default_scope('mmaction')

    def build(**kwargs):
        return DATASETS.build(dict(type='MotionShapesDataset', pipeline=PIPELINE, **kwargs))

    return build


def _digests(root):
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob('*'))
        if path.is_file()
    }


def _annotations(root, split):
    lines = (root / f'{split}.txt').read_text().splitlines()
    return [(name, int(label)) for name, label in (line.split() for line in lines)]


def _tool(root, *options):
    return subprocess.Popen(
        [sys.executable, 'tools/data/motion_shapes.py', str(root), *options],
        cwd=ROOT,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join([str(ROOT), *sys.path])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_splits_are_balanced_and_disjoint(rendered):
    videos = []
    for split, per_class in (('train', 2), ('val', 1), ('test', 1)):
        names, labels = zip(*_annotations(rendered, split))
        np.testing.assert_array_equal(np.bincount(labels), np.full(12, per_class))
        videos += names
    digests = _digests(rendered)
    assert len(set(videos)) == 48
    assert len({digests[name] for name in videos}) == 48
    assert (rendered / 'label_map.txt').read_text().split() == list(CLASSES)


def test_equal_seeds_give_equal_files(rendered, tmp_path):
    time.sleep(max(0, 1.1 - (time.time() - rendered.stat().st_mtime)))  # a clock must not matter
    render_motion_shapes(tmp_path / 'again', **FEW)
    assert _digests(tmp_path / 'again') == _digests(rendered)


def test_seed_changes_every_clip_and_number_of_clips_none(rendered, tmp_path):
    render_motion_shapes(tmp_path / 'seed', num_train=6, num_val=1, num_test=1, seed=1)
    render_motion_shapes(tmp_path / 'fewer', num_train=6, num_val=1, num_test=1)
    reference = _digests(rendered)
    seed, fewer = _digests(tmp_path / 'seed'), _digests(tmp_path / 'fewer')
    videos = [name for name in fewer if name.endswith('.mp4')]
    assert len(videos) == 8
    for name in videos:
        assert fewer[name] == reference[name]
        assert seed[name] != reference[name]


def test_a_finished_rendering_is_left_alone(rendered):
    before = {path: path.stat().st_mtime_ns for path in rendered.rglob('*')}
    render_motion_shapes(rendered, **FEW)
    assert {path: path.stat().st_mtime_ns for path in rendered.rglob('*')} == before


@pytest.mark.parametrize('other', [dict(seed=1), dict(size=96), dict(num_test=24)])
def test_other_arguments_than_the_folder_has_are_an_error(rendered, other):
    with pytest.raises(FileExistsError, match='other arguments.*Remove .*shapes'):
        render_motion_shapes(rendered, **{**FEW, **other})


def test_a_foreign_folder_is_an_error_and_stays_as_it_is(tmp_path):
    (tmp_path / 'notes.txt').write_text('mine')
    with pytest.raises(FileExistsError, match='holds no MotionShapes.*choose another'):
        render_motion_shapes(tmp_path, **FEW)
    assert [path.name for path in tmp_path.iterdir()] == ['notes.txt']


def test_an_empty_folder_is_filled(tmp_path):
    root = tmp_path / 'empty'
    root.mkdir()
    render_motion_shapes(root, num_train=1, num_val=1, num_test=1)
    assert len(list(root.glob('videos/*.mp4'))) == 3


def test_an_error_midway_leaves_nothing(tmp_path, monkeypatch):
    def full_disk(path, frames):
        raise OSError('No space left on device')

    monkeypatch.setattr('pan_mm.datasets.motion_shapes.dataset.write_video', full_disk)
    with pytest.raises(OSError, match='No space'):
        render_motion_shapes(tmp_path / 'shapes', **FEW)
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


@pytest.mark.parametrize('bad', [dict(num_train=0), dict(num_val=-1), dict(size=63), dict(size=32)])
def test_bad_arguments_are_named(tmp_path, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        render_motion_shapes(tmp_path / 'shapes', **bad)
    assert list(tmp_path.iterdir()) == []


def test_unknown_split_is_refused_before_rendering(build, tmp_path):
    with pytest.raises(ValueError, match="'train', 'val', 'test'.*'valid'"):
        build(split='valid', data_root=str(tmp_path / 'shapes'))
    assert list(tmp_path.iterdir()) == []


def test_dataset_renders_when_absent_and_decodes_through_mmaction(build, tmp_path):
    dataset = build(
        split='test',
        data_root=str(tmp_path / 'data' / 'shapes'),
        num_train=1,
        num_val=1,
        num_test=12,
        test_mode=True,
    )
    assert dataset.metainfo['classes'] == tuple(CLASSES)
    assert len(dataset) == 12
    sample = dataset[5]
    assert sample['inputs'].shape == (32, 3, 64, 64)
    assert sample['data_samples'].gt_label.item() == 5


@pytest.mark.slow
def test_a_killed_rendering_is_no_dataset_and_the_next_run_finishes(tmp_path):
    root = tmp_path / 'shapes'
    options = ('--num-train', '120', '--num-val', '1', '--num-test', '1')
    process = _tool(root, *options)
    work = tmp_path / '.shapes.rendering' / 'videos'
    while len(list(work.glob('*.mp4'))) < 5:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not root.exists()

    process = _tool(root, *options)
    output = process.communicate()
    assert process.returncode == 0, output
    assert len(list(root.glob('videos/*.mp4'))) == 122
    assert all(len(decord.VideoReader(str(path))) == 36 for path in root.glob('videos/*.mp4'))
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == [root]


@pytest.mark.slow
def test_of_two_processes_one_renders_and_the_other_waits(tmp_path):
    options = ('--num-train', '24', '--num-val', '1', '--num-test', '1')
    processes = [_tool(tmp_path / 'shapes', *options) for _ in range(2)]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted('Rendering' in output for output in outputs) == [False, True]
    assert len(list((tmp_path / 'shapes' / 'videos').iterdir())) == 26


def _appearance(frame):
    """Features of one frame: small gray image, colors, strength and direction of edges."""
    gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)
    dx, dy = cv2.Sobel(gray, -1, 1, 0), cv2.Sobel(gray, -1, 0, 1)
    strength = np.hypot(dx, dy)
    return np.concatenate(
        [
            cv2.resize(gray, (16, 16), interpolation=cv2.INTER_AREA).ravel(),
            *(np.histogram(frame[..., c], 8, (0, 256))[0] for c in range(3)),
            np.histogram(strength, 8, (0, 800))[0],
            np.histogram(np.arctan2(dy, dx), 8, (-np.pi, np.pi), weights=strength)[0],
        ]
    )


def _motion(before, after):
    """Features of two frames beyond those of one: change, and change along the gradient."""
    before, after = (
        cv2.GaussianBlur(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 1)
        for frame in (before, after)
    )
    change, mean = after - before, (after + before) / 2
    dx, dy = cv2.Sobel(mean, -1, 1, 0), cv2.Sobel(mean, -1, 0, 1)
    norm = np.hypot(dx, dy) + 1
    parts = (change, change * dx / norm, change * dy / norm)
    return np.concatenate([np.histogram(part, 9, (-40, 40))[0] for part in parts])


def _probe_accuracy(train, train_labels, test, test_labels):
    """Test accuracy of a small MLP; features (clips, frames, D), every frame stands alone."""
    torch.manual_seed(0)
    frames = train.shape[1]
    mean, std = train.mean((0, 1)), train.std((0, 1)) + 1e-6
    x, x_test = (
        torch.from_numpy((part - mean) / std).float().flatten(0, 1) for part in (train, test)
    )
    y, y_test = (
        torch.from_numpy(part).repeat_interleave(frames) for part in (train_labels, test_labels)
    )
    model = torch.nn.Sequential(
        torch.nn.Linear(x.shape[1], 64), torch.nn.ReLU(), torch.nn.Linear(64, len(CLASSES))
    )
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.1)
    for _ in range(20):
        for batch in torch.randperm(len(x)).split(64):
            loss = torch.nn.functional.cross_entropy(model(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return (model(x_test).argmax(1) == y_test).float().mean().item()


@pytest.mark.slow
def test_one_frame_says_nothing_and_two_say_much(tmp_path):
    counts = dict(num_train=240, num_val=1, num_test=240)
    render_motion_shapes(tmp_path / 'shapes', **counts)
    one, two, labels = {}, {}, {}
    for split in ('train', 'test'):
        names, classes = zip(*_annotations(tmp_path / 'shapes', split))
        videos = [
            decord.VideoReader(str(tmp_path / 'shapes' / name)).get_batch(range(36)).asnumpy()
            for name in names
        ]
        times = range(0, 35, 5)
        one[split] = np.array([[_appearance(v[t]) for t in times] for v in videos])
        two[split] = np.array([[_motion(v[t], v[t + 1]) for t in times] for v in videos])
        labels[split] = np.array(classes)

    chance = 1 / len(CLASSES)
    # Frames of a clip hang together: count clips, not frames, as independent.
    sigma = np.sqrt(chance * (1 - chance) / counts['num_test'])
    single = _probe_accuracy(one['train'], labels['train'], one['test'], labels['test'])
    motion = _probe_accuracy(two['train'], labels['train'], two['test'], labels['test'])
    print(f'\nprobe accuracy: one frame {single:.3f}, two frames {motion:.3f}')
    assert abs(single - chance) < 3 * sigma  # 8.3 % +- 5.4 %
    assert motion > chance + 8 * sigma  # 22.6 %: the same probe sees motion where there is some
