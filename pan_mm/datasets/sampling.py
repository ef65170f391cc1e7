"""Sampling of the frames of a video that PAN sees."""

import numpy as np
from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform


@TRANSFORMS.register_module()
class PANSampleFrames(BaseTransform):
    """Sample ``num_clips`` segments of ``clip_len`` adjacent frames each, as the authors do.

    MMAction2's ``SampleFrames`` spreads clips from edge to edge in test mode when ``clip_len``
    exceeds 1; PAN takes the middle of equal parts. With N frames, S segments, L = ``clip_len``:

    - test: tick = (N - L + 1) / S, segment i starts at int(tick / 2 + tick * i);
    - ``twice_sample`` appends a second clip whose segments start at int(tick * i);
    - train: a random start in each of S parts of (N - L + 1) // S frames; sorted random starts
      when the parts are empty but N > S; otherwise the first frame.

    A video shorter than a segment repeats its last frame.

    Required keys: total_frames, start_index. Added keys: frame_inds, clip_len, num_clips,
    frame_interval.

    Args:
        clip_len (int): m, adjacent frames in a segment.
        num_clips (int): T, segments in a clip. Defaults to 8.
        twice_sample (bool): Sample two clips of a video in test mode. Defaults to False.
        test_mode (bool): Deterministic sampling for validation and test. Defaults to False.

    Raises:
        ValueError: If a length is not positive, or a video has no frames.
    """

    def __init__(
        self,
        clip_len: int,
        num_clips: int = 8,
        twice_sample: bool = False,
        test_mode: bool = False,
    ) -> None:
        if clip_len < 1 or num_clips < 1:
            raise ValueError(
                f'clip_len and num_clips must be at least 1, got {clip_len} and {num_clips}'
            )
        if twice_sample and not test_mode:
            raise ValueError('twice_sample needs test_mode=True: training takes one clip a video')
        self.clip_len = clip_len
        self.num_clips = num_clips
        self.twice_sample = twice_sample
        self.test_mode = test_mode

    def _train_starts(self, num_starts: int, num_frames: int) -> np.ndarray:
        segments = np.arange(self.num_clips)
        part = num_starts // self.num_clips
        if part > 0:
            return segments * part + np.random.randint(part, size=self.num_clips)
        if num_frames > self.num_clips and num_starts > 0:
            return np.sort(np.random.randint(num_starts, size=self.num_clips))
        return np.zeros_like(segments)

    def _test_starts(self, num_starts: int) -> np.ndarray:
        segments = np.arange(self.num_clips)
        tick = num_starts / self.num_clips
        starts = tick / 2 + tick * segments
        if self.twice_sample:
            starts = np.concatenate([starts, tick * segments])
        return starts.astype(int).clip(min=0)

    def transform(self, results: dict) -> dict:
        """Add the frame indices of all segments, segment after segment."""
        num_frames = results['total_frames']
        if num_frames < 1:
            name = results.get('filename') or results.get('frame_dir') or 'the video'
            raise ValueError(f'{name} has no frames; remove it from the annotation file')
        num_starts = num_frames - self.clip_len + 1
        if self.test_mode:
            starts = self._test_starts(num_starts)
        else:
            starts = self._train_starts(num_starts, num_frames)
        frame_inds = starts[:, None] + np.arange(self.clip_len)  # (T, m)
        frame_inds = frame_inds.clip(max=num_frames - 1).ravel()
        results['frame_inds'] = (frame_inds + results['start_index']).astype(np.int32)
        results['clip_len'] = self.clip_len
        results['num_clips'] = len(starts)
        results['frame_interval'] = 1
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(clip_len={self.clip_len}, num_clips={self.num_clips}, '
            f'twice_sample={self.twice_sample}, test_mode={self.test_mode})'
        )


@TRANSFORMS.register_module()
class ReverseFrames(BaseTransform):
    """Play the sampled frames backwards, to test whether a model reads the order of time.

    Stands between sampler and decoder. The frames stay the same; with segments of m adjacent
    frames both the segments and the frames in each are reversed. A model that is blind to order,
    such as TSN, gives the same scores as without it.

    Required keys: frame_inds. Modified keys: frame_inds.
    """

    def transform(self, results: dict) -> dict:
        """Reverse ``frame_inds``."""
        results['frame_inds'] = np.ravel(results['frame_inds'])[::-1].copy()
        return results
