import pickle

import mmengine
import pytest
import torch

from pan_mm.inference.scores import load_scores, scores_and_labels
from pan_mm.utils.errors import DataError

SCORES = [[3.0, 1, 0], [0.0, 2, 1], [5.0, 0, 0]]


@pytest.fixture
def write(tmp_path):
    def write(scores, labels=(0, 2, 1)):
        samples = [
            dict(pred_score=torch.tensor(score), gt_label=torch.tensor([label]), filename='é.mp4')
            for score, label in zip(scores, labels)
        ]
        mmengine.dump(samples, str(tmp_path / 'a.pkl'))
        return tmp_path / 'a.pkl'

    return write


def test_what_a_test_dumps_is_read(write):
    samples = load_scores(write(SCORES))
    assert samples[0]['filename'] == 'é.mp4'
    scores, labels = scores_and_labels(samples)
    assert scores.tolist() == SCORES and labels.tolist() == [0, 2, 1]
    samples[1]['gt_label'] = torch.tensor([1, 2])
    with pytest.raises(DataError, match='one label of each video'):
        scores_and_labels(samples)


@pytest.mark.parametrize('row', [[0.0, float('nan'), 0.0], [0.0, 1.0]])
def test_scores_that_are_none(write, row):
    with pytest.raises(DataError, match='sample 1 has scores of'):
        load_scores(write([SCORES[0], row]))


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

    def test_damaged(self, write):
        path = write(SCORES)
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(DataError, match='is not plain data in a pickle'):
            load_scores(path)

    def test_a_small_file_that_asks_for_ten_thousand_million_numbers(self, write):
        """As a shape, and as a shape and its storage."""
        path = write([[1.0]], [0])
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
