"""Intermediate values of a PAN on the way from a clip to its scores."""

from typing import NamedTuple, Optional

import numpy as np
import torch
from torch import Tensor, nn

from pan_mm.models import VariousTimescaleAggregation
from pan_mm.models.probabilities import to_probabilities
from pan_mm.models.streams import streams_of


class Inspection(NamedTuple):
    """Inside views of a clip.

    Attributes:
        frames (np.ndarray): RGB, uint8, shape (T, m, H, W, 3).
        pa_maps (np.ndarray | None): Maps of PA or another cue, shape (T, m - 1, H, W) where it
            has one map of each pair; None for the RGB stream.
        vap_weights (np.ndarray | None): Shape (T - 1,), coarsest level first, sum 1; None for a
            head without VAP.
        scores (np.ndarray): Probabilities, shape (num_classes,).
    """

    frames: np.ndarray
    pa_maps: Optional[np.ndarray]
    vap_weights: Optional[np.ndarray]
    scores: np.ndarray


@torch.no_grad()
def inspect_clip(model: nn.Module, inputs: Tensor) -> Inspection:
    """Run a recognizer on a clip and keep its intermediate values.

    The model's mode (training or evaluation) is restored.

    Args:
        model (nn.Module): A ``Recognizer2D`` with ``PANBackbone``, or a ``PANEnsemble`` of them, of
            which the first stream with PA runs.
        inputs (Tensor): Frames as the pipeline packs them: RGB, not normalized, shape
            (views·T·m, 3, H, W). Only the first view counts.

    Raises:
        ValueError: If the model has no ``PANBackbone``, or the frames are fewer than T·m.
    """
    streams = streams_of(model).values()
    if not streams:
        raise ValueError(
            f'only a recognizer with PANBackbone has PA maps, got {type(model).__name__} with '
            f'{type(getattr(model, "backbone", None)).__name__}'
        )
    recognizer = min(streams, key=lambda stream: stream.backbone.stream == 'rgb')
    backbone = recognizer.backbone
    num_frames = backbone.num_segments * backbone.clip_len
    if len(inputs) < num_frames:
        raise ValueError(f'a clip has {num_frames} frames, got {len(inputs)}')
    inputs = inputs[:num_frames]
    training = recognizer.training
    recognizer.eval()
    try:
        data = model.data_preprocessor(dict(inputs=[inputs], data_samples=[]))
        x = data['inputs'][0]  # (T·m, 3, H, W)
        pa_maps = vap_weights = None
        if backbone.stream != 'rgb':
            maps = backbone.persistence(x.unflatten(0, (-1, backbone.clip_len)))
            pa_maps = maps.float().cpu().numpy()
        features = backbone(x)  # (T, C, h, w)
        aggregation = getattr(recognizer.cls_head, 'aggregation', None)
        if isinstance(aggregation, VariousTimescaleAggregation):
            vectors = aggregation.pool(features.mean(dim=(2, 3)).unsqueeze(0))  # (1, T−1, C)
            vap_weights = aggregation.weigh(vectors)[0].float().cpu().numpy()
        scores = to_probabilities(recognizer.cls_head(features, num_segs=num_frames)[0], recognizer)
    finally:
        recognizer.train(training)
    frames = inputs.unflatten(0, (-1, backbone.clip_len)).permute(0, 1, 3, 4, 2)
    frames = frames.clamp(0, 255).to(torch.uint8).cpu().numpy()
    return Inspection(frames, pa_maps, vap_weights, scores.float().cpu().numpy())
