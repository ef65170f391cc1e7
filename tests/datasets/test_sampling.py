import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmaction.registry import TRANSFORMS

from builders import decode
from pan_mm.datasets import PANSampleFrames, ReverseFrames


def sample(num_frames, start_index=0, **kwargs):
    results = dict(total_frames=num_frames, start_index=start_index)
    return PANSampleFrames(**kwargs)(results)['frame_inds']


def test_equals_the_authors_code(parity_dir):
    """All fixtures of testing; of validation, those where the authors' two rules agree.

    In validation the authors start every segment of a video of at most S + L - 1 frames at its
    first frame; here such videos are spread as in testing.
    """
    fixtures = json.loads((parity_dir / 'sampling.json').read_text())
    checked = 0
    for f in fixtures:
        short = f['num_frames'] <= f['num_segments'] + f['clip_len'] - 1
        if f['mode'] == 'val' and short:
            continue
        indices = sample(
            f['num_frames'],
            clip_len=f['clip_len'],
            num_clips=f['num_segments'],
            test_mode=True,
            twice_sample=f['mode'] == 'twice',
        )
        assert indices.tolist() == f['frame_inds'], f
        checked += 1
    assert checked >= 160


MIDDLES = [2, 6, 11, 16, 20, 25, 30, 34]  # int(tick / 2 + tick * i), tick = (40 - 4 + 1) / 8
STARTS = [0, 4, 9, 13, 18, 23, 27, 32]  # int(tick * i)


@pytest.mark.parametrize(('twice', 'starts'), [(False, MIDDLES), (True, MIDDLES + STARTS)])
def test_test_segments_by_hand(twice, starts):
    results = dict(total_frames=40, start_index=0)
    results = PANSampleFrames(clip_len=4, test_mode=True, twice_sample=twice)(results)
    frames = [start + frame for start in starts for frame in range(4)]
    assert results['frame_inds'].tolist() == frames and results['frame_inds'].dtype == np.int32
    shape = results['clip_len'], results['num_clips'], results['frame_interval']
    assert shape == (4, len(starts), 1)


@pytest.mark.parametrize('test_mode', [False, True])
def test_very_short_videos_by_hand(test_mode):
    # Shorter than a segment: its last frame is repeated.
    assert sample(2, clip_len=4, test_mode=test_mode).tolist() == 8 * [0, 1, 1, 1]
    assert sample(4, clip_len=4, test_mode=test_mode).tolist() == 8 * [0, 1, 2, 3]


@pytest.mark.parametrize('num_frames', [7, 8])
def test_training_videos_of_at_most_a_frame_a_segment_start_with_the_first(num_frames):
    np.random.seed(0)
    assert sample(num_frames, clip_len=2)[::2].tolist() == [0] * 8


@pytest.mark.parametrize('clip_len', [9, 15])
def test_training_videos_shorter_than_a_segment_start_with_the_first_frame(clip_len):
    (frames,) = {tuple(own) for own in sample(8, clip_len=clip_len, num_clips=4).reshape(4, -1)}
    assert frames == (0, 1, 2, 3, 4, 5, 6, *[7] * (clip_len - 7))


def test_a_start_for_each_segment():
    assert sample(11, clip_len=4)[::4].tolist() == [*range(8)]


def test_raw_frames_count_from_their_start_index():
    zero, one = (sample(40, clip_len=4, test_mode=True, start_index=i) for i in (0, 1))
    assert (one == zero + 1).all()


def test_training_starts_lie_in_equal_parts():
    np.random.seed(0)
    starts = np.array([sample(50, clip_len=4)[::4] for _ in range(200)])
    part = (50 - 4 + 1) // 8
    assert (starts // part == np.arange(8)).all()
    assert all(len(set(column)) == part for column in starts.T)


def test_short_training_videos_get_sorted_starts():
    np.random.seed(0)
    starts = np.array([sample(10, clip_len=4)[::4] for _ in range(50)])
    assert (np.diff(starts, axis=1) >= 0).all()
    assert set(starts.flat) == set(range(7))


@given(
    num_frames=st.one_of(st.integers(1, 300), st.integers(1, 2**31 - 50)),
    start_index=st.sampled_from([0, 1, 5]),
    clip_len=st.integers(1, 20),
    num_clips=st.integers(1, 20),
    mode=st.sampled_from(['train', 'test', 'twice']),
)
def test_segments_are_adjacent_frames_of_the_video(
    num_frames, start_index, clip_len, num_clips, mode
):
    options = dict(test_mode=mode != 'train', twice_sample=mode == 'twice')
    indices = sample(num_frames, start_index, clip_len=clip_len, num_clips=num_clips, **options)
    indices = indices.reshape(-1, clip_len) - start_index
    assert len(indices) == num_clips * (2 if mode == 'twice' else 1)
    assert indices.min() >= 0
    assert indices.max() < num_frames
    steps = np.diff(indices, axis=1)
    past_the_end = indices[:, 1:] == num_frames - 1
    assert ((steps == 1) | (past_the_end & (steps == 0))).all()


class TestErrors:
    @given(lengths=st.tuples(st.integers(-2, 9), st.integers(-2, 9)).filter(lambda n: min(n) < 1))
    def test_lengths(self, lengths):
        with pytest.raises(ValueError, match='at least 1'):
            PANSampleFrames(*lengths)

    def test_twice_sample_in_training(self):
        with pytest.raises(ValueError, match='test_mode=True'):
            PANSampleFrames(clip_len=4, twice_sample=True)
        in_a_test = PANSampleFrames(clip_len=4, test_mode=True, twice_sample=True)
        assert 'clip_len=4, num_clips=8, twice_sample=True' in repr(in_a_test)

    def test_no_frames(self):
        results = dict(total_frames=0, start_index=0, filename='empty.mp4')
        with pytest.raises(ValueError, match='^empty.mp4 has no frames'):
            PANSampleFrames(clip_len=4)(results)
        results['frame_dir'] = results.pop('filename')
        with pytest.raises(ValueError, match='^empty.mp4 has no frames'):
            PANSampleFrames(clip_len=4)(results)


def test_reversed_are_segments_and_the_frames_in_each():
    results = PANSampleFrames(clip_len=3, num_clips=2, test_mode=True)(
        dict(total_frames=12, start_index=0)
    )
    assert results['frame_inds'].tolist() == [2, 3, 4, 7, 8, 9]
    assert ReverseFrames()(results)['frame_inds'].tolist() == [9, 8, 7, 4, 3, 2]


def test_decoding_gives_the_same_frames_backwards(videos):
    indices = np.array([[2, 3, 4], [7, 8, 9]])
    backwards = ReverseFrames()(dict(frame_inds=indices))['frame_inds']
    forwards, found = (decode(videos / '2.mp4', each)['imgs'] for each in (indices, backwards))
    assert (forwards[0] != forwards[-1]).any()
    np.testing.assert_array_equal(found, forwards[::-1])


@pytest.mark.parametrize('transform', [PANSampleFrames, ReverseFrames])
def test_configs_find_it(transform):
    assert TRANSFORMS.get(transform.__name__) is transform
