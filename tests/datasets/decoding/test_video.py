import importlib.util

import numpy as np
import pytest

from pan_mm.datasets import PANSampleFrames, VideoDecode, VideoInit
from pan_mm.utils.errors import VideoError


def decode(path, backend='auto', **kwargs):
    results = dict(filename=str(path), start_index=0, modality='RGB')
    for transform in (VideoInit(backend), PANSampleFrames(4, test_mode=True), VideoDecode()):
        results = transform(results)
    return results


@pytest.mark.parametrize('backend', ['decord', 'opencv', 'pyav'])
def test_backends_agree(videos, backend):
    if backend == 'pyav' and not importlib.util.find_spec('av'):
        pytest.skip('PyAV is not installed')
    expected = decode(videos / '3.mp4', 'decord')
    results = decode(videos / '3.mp4', backend)
    assert results['total_frames'] == 36
    assert len(results['imgs']) == 32
    difference = np.abs(np.stack(results['imgs']).astype(int) - np.stack(expected['imgs']))
    assert difference.mean() < 1


def test_frames_are_those_asked_for(videos):
    """The picture moves 4 pixels a frame, so neighbours differ by a roll."""
    first, second = decode(videos / '3.mp4')['imgs'][:2]
    assert np.abs(second[:, 4:].astype(int) - first[:, :-4]).mean() < 5


class TestErrors:
    def test_unknown_backend(self):
        with pytest.raises(ValueError, match="got 'ffmpeg'"):
            VideoInit('ffmpeg')

    def test_missing_file(self):
        with pytest.raises(VideoError, match='nowhere.mp4: no such file'):
            decode('nowhere.mp4')

    @pytest.mark.parametrize('content', [b'', b'no video at all' * 100])
    @pytest.mark.parametrize('backend', ['decord', 'opencv'])
    def test_no_video(self, tmp_path, backend, content):
        path = tmp_path / 'broken.mp4'
        path.write_bytes(content)
        with pytest.raises(VideoError, match='broken.mp4'):
            decode(path, backend)

    @pytest.mark.real_data
    @pytest.mark.parametrize('name', ['empty.mp4', 'zeros.mp4', 'truncated_no_moov_maybe.mp4'])
    def test_real_broken_files(self, clips_dir, name):
        with pytest.raises(VideoError, match=name):
            decode(clips_dir / 'negative' / name)

    @pytest.mark.real_data
    def test_frames_that_are_no_rgb(self, clips_dir):
        with pytest.raises(VideoError, match='pathological_4x4'):
            decode(clips_dir / 'robustness' / 'pathological_4x4_20frames.avi', 'decord')


@pytest.mark.real_data
@pytest.mark.parametrize('num_frames', [1, 2, 5, 20])
def test_real_videos_shorter_than_the_span(clips_dir, num_frames):
    name = f'derived_short_{num_frames}frames_utd_a1.mp4'
    results = decode(clips_dir / 'robustness' / name)
    assert len(results['imgs']) == 32
    assert results['frame_inds'].max() <= num_frames - 1
