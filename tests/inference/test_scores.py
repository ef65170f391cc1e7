import pickle
from pathlib import Path

import mmengine
import numpy as np
import pytest
import torch

from pan_mm.inference.scores import accuracies, fuse_scores, load_scores, scores_and_labels
from pan_mm.utils.errors import DataError

LABELS = [0, 2, 1, 0]


def samples(scores, labels=LABELS, names='abcd', key='filename'):
    dumped = []
    for i, (score, label) in enumerate(zip(scores, labels)):
        sample = dict(
            pred_score=torch.tensor(score),
            pred_label=torch.tensor([int(torch.tensor(score).argmax())]),
            gt_label=torch.tensor([label]),
            img_shape=(32, 32),
        )
        if names:
            sample[key] = f'{names[i]}.mp4'
        dumped.append(sample)
    return dumped


FIRST = [[3.0, 1, 0], [0.0, 2, 1], [5.0, 0, 0], [1.0, 0, 2]]
SECOND = [[0.0, 1, 0], [0.0, 0, 5], [1.0, 2, 0], [4.0, 0, 0]]


@pytest.fixture
def write(tmp_path):
    def write(name, *args, **kwargs):
        path = str(tmp_path / f'{name}.pkl')
        mmengine.dump(samples(*args, **kwargs), path)
        return path

    return write


def scores(fused):
    return torch.stack([sample['pred_score'] for sample in fused])


class TestFusion:
    def test_mean(self, write):
        fused = fuse_scores([write('a', FIRST), write('b', SECOND)])
        torch.testing.assert_close(scores(fused), (torch.tensor(FIRST) + torch.tensor(SECOND)) / 2)
        assert [sample['pred_label'].tolist() for sample in fused] == [[0], [2], [0], [0]]
        assert [sample['gt_label'].tolist() for sample in fused] == [[label] for label in LABELS]

    def test_weights(self, write):
        paths = [write('a', FIRST), write('b', SECOND), write('c', SECOND)]
        fused = fuse_scores(paths, [2, 1, 1])
        expected = (torch.tensor(FIRST) + torch.tensor(SECOND)) / 2
        torch.testing.assert_close(scores(fused), expected)

    def test_accuracies(self, write):
        fused = fuse_scores([write('a', FIRST), write('b', SECOND)])
        # right: 0, 2, not 1, 0; of the classes all, none, all
        shares = accuracies(*scores_and_labels(fused))
        assert shares == pytest.approx(dict(top1=75, top5=100, mean_class=200 / 3))
        assert accuracies(*scores_and_labels(load_scores(write('c', FIRST))))['top1'] == 25

    def test_ties_break_in_one_way(self):
        """On balanced data top-1 and the mean over the classes are the same."""
        rng = np.random.default_rng(0)
        tied, labels = rng.integers(0, 3, (60, 6)).astype(np.float32), np.arange(60) % 6
        shares = accuracies(tied, labels)
        assert shares['top1'] == pytest.approx(shares['mean_class'])
        assert shares['top1'] == 100 * (tied.argmax(1) == labels).mean()
        assert accuracies(np.zeros((2, 7)), np.array([4, 5]))['top5'] == 50


class TestRefused:
    @pytest.mark.parametrize(
        ('other', 'message'),
        [
            (dict(names='abce'), 'a.pkl and .*b.pkl: filename of video 3 is d.mp4, then e.mp4'),
            (dict(labels=[0, 2, 1, 1]), r'gt_label of video 3 is \[0\], then \[1\]'),
            (dict(scores=SECOND[:3]), 'are of 4 and 3 videos'),
        ],
    )
    def test_other_videos(self, write, other, message):
        other = dict(scores=SECOND) | other
        with pytest.raises(DataError, match=message):
            fuse_scores([write('a', FIRST), write('b', **other)])

    def test_other_classes(self, write):
        with pytest.raises(DataError, match='have 3 and 4 classes'):
            fuse_scores([write('a', FIRST), write('b', [row + [0.0] for row in SECOND])])

    def test_probabilities_with_logits(self, write):
        probabilities = torch.tensor(SECOND).softmax(1).tolist()
        with pytest.raises(DataError, match='holds probabilities, the other logits'):
            fuse_scores([write('a', FIRST), write('b', probabilities)])

    def test_not_finite(self, write):
        with pytest.raises(DataError, match='sample 1 has scores of .* or not finite'):
            load_scores(write('a', [FIRST[0], [0.0, float('nan'), 0.0]]))

    @pytest.mark.parametrize('weights', [[1], [1, -1], [0, 0]])
    def test_weights(self, write, weights):
        with pytest.raises(ValueError, match='weights'):
            fuse_scores([write('a', FIRST), write('b', SECOND)], weights)


class Evil:
    def __reduce__(self):
        return print, ('this code must not run',)


class EvilStorage:
    def __reduce__(self):
        return torch.storage._load_from_bytes, (pickle.dumps(Evil(), 2),)


class TestUntrusted:
    @pytest.mark.parametrize('content', [Evil(), EvilStorage(), [1], {}, []])
    def test_other_pickles(self, tmp_path, capfd, content):
        path = tmp_path / 'a.pkl'
        path.write_bytes(pickle.dumps(content, 2))
        with pytest.raises(DataError, match='a.pkl'):
            load_scores(path)
        assert 'must not run' not in capfd.readouterr().out

    def test_damaged(self, write, tmp_path):
        path = tmp_path / 'b.pkl'
        path.write_bytes(Path(write('a', FIRST)).read_bytes()[:-20])
        with pytest.raises(DataError, match='is not plain data in a pickle'):
            load_scores(path)

    def test_a_small_file_that_asks_for_ten_thousand_million_numbers(self, write):
        """As a shape, and as a shape and its storage."""
        path = Path(write('a', [[1.0]], [0], 'a'))
        content, huge = path.read_bytes(), pickle.dumps(10**10, 2)[2:-1]
        assert len(content) < 1500
        shape = content.replace(b'K\x01\x85', huge + b'\x85')
        for changed in (shape, shape.replace(b'K\x01t', huge + b't')):
            assert changed != content
            path.write_bytes(changed)
            with pytest.raises(
                DataError, match='a.pkl (was refused.*claim more|is not plain data.*overflowed)'
            ):
                load_scores(path)

    @pytest.mark.parametrize(
        'content',
        [
            b'\x80\x02Nr\xff\xff\xff\x7f.',  # a place in the memo, far away
            b'\x80\x02c_codecs\nencode\n}X\x01\0\0\0ak\x01sb.',  # state of a function of ours
        ],
    )
    def test_pickles_that_ask_for_memory_or_change_the_process(self, tmp_path, content):
        (tmp_path / 'a.pkl').write_bytes(content)
        with pytest.raises(DataError, match='a.pkl'):
            load_scores(tmp_path / 'a.pkl')

    def test_scores_of_another_kind(self, tmp_path):
        sample = dict(pred_score=torch.ones(3, dtype=torch.int8), gt_label=torch.tensor([1]))
        mmengine.dump([sample], str(tmp_path / 'a.pkl'))
        with pytest.raises(DataError, match='a.pkl: sample 0 has no pred_score and gt_label'):
            load_scores(tmp_path / 'a.pkl')
