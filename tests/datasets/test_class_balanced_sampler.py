"""Classes of a list come equally often."""

from collections import Counter

import pytest
from mmaction.registry import DATA_SAMPLERS, DATASETS

from pan_mm.utils.errors import DataError

LINES = [f'{i}.mp4 {0 if i < 17 else 1 if i < 20 else 2}' for i in range(21)]  # 17, 3 and 1


def sampler(tmp_path, lines=LINES, **cfg):
    (tmp_path / 'list.txt').write_text('\n'.join(lines))
    several = any(len(line.split()) > 2 for line in lines)
    dataset = dict(type='VideoDataset', ann_file=str(tmp_path / 'list.txt'), pipeline=[])
    dataset = DATASETS.build(dict(dataset, multi_class=several, num_classes=3))
    return DATA_SAMPLERS.build(
        dict(type='ClassBalancedSampler', seed=0, **cfg), default_args=dict(dataset=dataset)
    )


def test_each_class_equally_often(tmp_path):
    own = sampler(tmp_path)
    indices = list(own)
    assert len(indices) == len(own) == 21
    drawn = Counter(int(LINES[i].split()[1]) for i in indices)
    assert drawn == {0: 7, 1: 7, 2: 7}
    counts = Counter(indices)
    assert max(counts[i] for i in range(17)) == 1  # none again before all have come
    assert sorted(counts[i] for i in range(17, 20)) == [2, 2, 3]
    assert indices != sorted(indices)


def test_epochs_differ_and_can_be_made_again(tmp_path):
    own = sampler(tmp_path)
    first = list(own)
    assert list(own) == first
    own.set_epoch(1)
    assert list(own) != first
    still = sampler(tmp_path, shuffle=False)
    before = list(still)
    still.set_epoch(1)
    assert list(still) == before


def test_several_labels_of_a_video(tmp_path):
    lines = ['a.mp4 0', 'b.mp4 0', 'c.mp4 0 2', 'd.mp4 1', 'e.mp4 0', 'f.mp4 0']
    drawn = Counter(list(sampler(tmp_path, lines)))
    assert drawn[3] == 2 and drawn[2] >= 2  # the only ones of classes 1 and 2


def test_a_video_without_a_label(tmp_path):
    with pytest.raises(DataError, match='video 1 of the list has no label'):
        sampler(tmp_path, ['a.mp4 0', 'b.mp4'])
