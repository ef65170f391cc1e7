"""Recognition while frames come in: the same engine for files, cameras and pushed frames."""

import time
from collections import deque
from typing import Any, NamedTuple, Optional

import numpy as np
import torch
from torch import Tensor, nn

from pan_mm.config.pipelines import VideoPipeline
from pan_mm.inference.calibration import read_calibration
from pan_mm.inference.recognizer import require_finite
from pan_mm.models.probabilities import to_probabilities
from pan_mm.models.streams import recognizers_of, streams_of


class Prediction(NamedTuple):
    """Probabilities of a window, float32, shape (num_classes,).

    ``start`` and ``end`` are the timestamps of its first and last frame; ``latency`` are seconds
    from the arrival of the last frame, waiting in a buffer included.
    """

    scores: np.ndarray
    start: float
    end: float
    latency: float


class _Segment:
    """Segment that grows frame by frame into the input of each stream's 2D backbone."""

    def __init__(self, first: Tensor, start: float, num_streams: int) -> None:
        self.first = first  # (1, 3, H, W)
        self.start = start
        self.length = 1
        self.maps = [[] for _ in range(num_streams)]  # per stream, of (1, 1, H, W)


class StreamRecognizer:
    """Recognizer of a sliding window of T segments.

    A segment of m adjacent frames starts at each frame stride // 2 + k * stride. That is what
    ``PANSampleFrames`` takes in test mode from a video of T * stride + m - 1 frames; other lengths
    give it a fractional stride. Each frame is prepared and each PA map computed once, however many
    windows hold it.

    Args:
        model (nn.Module): A ``Recognizer2D`` with ``PANBackbone``, or a ``PANEnsemble`` of them.
        stride (int): Frames from one segment's start to the next. T * stride frames should last
            about as long as the videos that the model was trained on. Defaults to 8.
        test_pipeline (list[dict], optional): Its transforms after sampling and decoder are
            applied to each frame. Defaults to the one in ``model.cfg``.

    Raises:
        ValueError: If the stride is less than 1, the model is none of these, or there is no
            pipeline.
    """

    def __init__(
        self, model: nn.Module, stride: int = 8, test_pipeline: Optional[list] = None
    ) -> None:
        if stride < 1:
            raise ValueError(f'stride must be at least 1, got {stride}')
        self.model = model.eval()
        self.calibration = read_calibration(getattr(model, 'dataset_meta', None), 'the model')
        self._streams = _streams(model)  # [(weight, recognizer)]
        backbones = [recognizer.backbone for _, recognizer in self._streams]
        self.stride = stride
        self.num_segments = backbones[0].num_segments
        # The RGB stream sees only the first frame of each segment.
        self.segment_len = max(1 if b.stream == 'rgb' else b.clip_len for b in backbones)
        config = dict(test_pipeline=test_pipeline) if test_pipeline else getattr(model, 'cfg', {})
        self._transforms = VideoPipeline(config).frame_transforms()
        self.reset()

    @property
    def first_prediction(self) -> int:
        """Frames that have to come before there is a prediction."""
        return self.stride // 2 + (self.num_segments - 1) * self.stride + self.segment_len

    @property
    def buffer_len(self) -> int:
        """Fewest frames that hold a whole segment wherever it begins."""
        return self.stride + self.segment_len - 1

    def starts_segment(self, index: int) -> bool:
        """Tell if a segment starts at the frame of this index."""
        return index % self.stride == self.stride // 2

    def reset(self) -> None:
        """Forget all frames."""
        self._next_index = 0
        self._previous = None
        self._open = deque()
        self._window = deque(maxlen=self.num_segments)

    @torch.inference_mode()
    def push(
        self,
        image: np.ndarray,
        timestamp: Optional[float] = None,
        index: Optional[int] = None,
        captured: Optional[float] = None,
    ) -> Optional[Prediction]:
        """Take in a frame.

        Args:
            image (np.ndarray): RGB, uint8, shape (H, W, 3).
            timestamp (float, optional): Its time in seconds. Defaults to the present Unix time.
            index (int, optional): Its number at the source. Defaults to the one after the last.
                After a jump a new segment is waited for; the window stays.
            captured (float, optional): ``time.perf_counter()`` when it arrived. Defaults to now.

        Returns:
            Prediction | None: If this frame completes a window.

        Raises:
            ValueError: If the image is not an RGB frame.
            CheckpointError: If the model's scores are not finite.
        """
        captured = time.perf_counter() if captured is None else captured
        timestamp = time.time() if timestamp is None else timestamp
        index = self._next_index if index is None else index
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(
                'a frame must be an RGB image, uint8, shape (H, W, 3); got '
                f'{image.dtype}, {image.shape}'
            )
        if index != self._next_index:
            self._open.clear()
        self._next_index = index + 1
        starts = self.starts_segment(index)
        if not starts and not self._open:
            return None
        frame = self._prepare(image)  # (1, 3, H, W)
        if self._previous is not None and frame.shape != self._previous.shape:
            self._open.clear()  # the camera has changed its resolution
            self._window.clear()
        if self._open:
            self._extend(frame)
        if starts:
            self._open.append(_Segment(frame, timestamp, len(self._streams)))
        self._previous = frame
        if not self._open or self._open[0].length < self.segment_len:
            return None
        scores = self._close(self._open.popleft())
        if scores is None:
            return None
        return Prediction(scores, self._window[0][0], timestamp, time.perf_counter() - captured)

    def _prepare(self, image: np.ndarray) -> Tensor:
        results = dict(
            imgs=[image],
            original_shape=image.shape[:2],
            img_shape=image.shape[:2],
            modality='RGB',
            num_clips=1,
            clip_len=1,
        )
        images = torch.from_numpy(np.ascontiguousarray(self._transforms(results)['imgs']))
        if images.ndim != 4 or len(images) != 1:
            raise ValueError(
                f'the test pipeline makes an input of shape {tuple(images.shape)} of a frame; '
                'streaming takes one view, (1, 3, H, W): use CenterCrop and FormatShape NCHW'
            )
        data = self.model.data_preprocessor(dict(inputs=[images], data_samples=[]))
        return data['inputs'][0]  # (1, 3, H, W)

    def _extend(self, frame: Tensor) -> None:
        """Add a frame, and its PA maps with the frame before, to the segments under way."""
        pair = torch.stack([self._previous, frame], dim=1)  # (1, 2, 3, H, W)
        for i, (_, recognizer) in enumerate(self._streams):
            if recognizer.backbone.stream != 'rgb':
                pa_map = recognizer.backbone.persistence(pair)  # (1, 1, H, W)
                for segment in self._open:
                    segment.maps[i].append(pa_map)
        for segment in self._open:
            segment.length += 1

    def _close(self, segment: _Segment) -> Optional[np.ndarray]:
        """Move the window on by a segment; return its probabilities if it is complete."""
        inputs = []
        for (_, recognizer), maps in zip(self._streams, segment.maps):
            first = [] if recognizer.backbone.stream == 'pa' else [segment.first]
            inputs.append(torch.cat(first + maps, dim=1))  # (1, channels, H, W)
        self._window.append((segment.start, inputs))
        if len(self._window) < self.num_segments:
            return None
        logits: Any = 0
        for i, (weight, recognizer) in enumerate(self._streams):
            x = torch.cat([inputs[i] for _, inputs in self._window])  # (T, channels, H, W)
            x = recognizer.backbone.backbone(x)  # (T, C, h, w)
            logits = logits + weight * recognizer.cls_head(x, num_segs=self.num_segments)
        require_finite(logits)
        return self.calibration(to_probabilities(logits[0].float(), self.model)).cpu().numpy()


def _streams(model):
    """List the weights and recognizers that a model consists of."""
    streams = streams_of(model)
    if len(streams) < len(recognizers_of(model)):
        raise ValueError(
            f'streaming needs a Recognizer2D with PANBackbone, got {type(model).__name__} with '
            f'{type(getattr(model, "backbone", None)).__name__}'
        )
    weights = getattr(model, 'weights', {})
    return [(weights.get(name, 1.0), recognizer) for name, recognizer in streams.items()]
