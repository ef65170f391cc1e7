import hashlib
import time

import numpy as np
import pytest
from mmaction.registry import DATASETS

import pan_mm  # noqa: F401  registers the dataset
from pan_mm.datasets.motion_shapes.dataset import render_motion_shapes
from pan_mm.datasets.motion_shapes.render import CLASSES

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


def build(**kwargs):
    return DATASETS.build(dict(type='MotionShapesDataset', pipeline=PIPELINE, **kwargs))


def _digests(root):
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob('*'))
        if path.is_file()
    }


def _annotations(root, split):
    lines = (root / f'{split}.txt').read_text().splitlines()
    return [(name, int(label)) for name, label in (line.split() for line in lines)]


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


@pytest.mark.parametrize('other', [dict(seed=1), dict(size=96)])
def test_other_arguments_than_the_folder_has_are_an_error(rendered, other):
    with pytest.raises(FileExistsError, match='other arguments.*Remove .*shapes'):
        render_motion_shapes(rendered, **{**FEW, **other})


def test_a_foreign_folder_is_an_error_and_stays_as_it_is(tmp_path):
    (tmp_path / 'notes.txt').write_text('mine')
    with pytest.raises(FileExistsError, match='holds no MotionShapes.*choose another'):
        render_motion_shapes(tmp_path, **FEW)
    assert [path.name for path in tmp_path.iterdir()] == ['notes.txt']


def test_an_error_midway_leaves_nothing(tmp_path, monkeypatch):
    def full_disk(path, frames):
        raise OSError('No space left on device')

    monkeypatch.setattr('pan_mm.datasets.motion_shapes.dataset.write_video', full_disk)
    with pytest.raises(OSError, match='No space'):
        render_motion_shapes(tmp_path / 'shapes', **FEW)
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


@pytest.mark.parametrize('bad', [dict(num_train=0), dict(size=63)])
def test_bad_arguments_are_named(tmp_path, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        render_motion_shapes(tmp_path / 'shapes', **bad)
    assert list(tmp_path.iterdir()) == []


def test_unknown_split_is_refused_before_rendering(tmp_path):
    with pytest.raises(ValueError, match="'train', 'val', 'test'.*'valid'"):
        build(split='valid', data_root=str(tmp_path / 'shapes'))
    assert list(tmp_path.iterdir()) == []


def test_dataset_renders_when_absent_and_decodes_through_mmaction(tmp_path):
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
