"""Layers of a clip side by side: its frames, PA maps, optical flow and GradCAM."""

from collections.abc import Iterator
from typing import Optional

import numpy as np
from mmaction.utils import GradCAM
from torch import nn

from .inspection import Inspection
from .pictures import optical_flow, paint_flow, paint_maps, tile

STILL = ('frame', 'GradCAM')  # shown once per segment in a still picture


def layers_of(seen: Inspection, flow: bool = False, cam: Optional[np.ndarray] = None) -> dict:
    """Paint the layers of a clip.

    Args:
        seen (Inspection): From a model with PA.
        flow (bool): Add optical flow, to compare PA with. Defaults to False.
        cam (np.ndarray, optional): From :func:`grad_cam`.

    Returns:
        dict[str, np.ndarray]: RGB, uint8, shape (T, P, H, W, 3); P is m - 1, the pairs of adjacent
        frames, or 1 for GradCAM.
    """
    layers = dict(frame=seen.frames[:, :-1], PA=paint_maps(seen.pa_maps))
    if flow:
        layers['flow'] = paint_flow(np.stack([optical_flow(frames) for frames in seen.frames]))
    if cam is not None:
        layers['GradCAM'] = cam[:, :1]
    return layers


def grid_of(layers: dict, width: int = 160, dark: bool = False) -> np.ndarray:
    """Draw one picture, segments side by side and layers below one another; RGB, uint8."""
    rows, names = [], []
    for name, pictures in layers.items():
        still = name in STILL
        for pair in range(1 if still else pictures.shape[1]):
            rows.append(list(pictures[:, pair]))
            names.append(name if still else f'{name} {pair + 1}')
    columns = [f'segment {i + 1}' for i in range(len(pictures))]
    return tile(rows, names, columns, width, dark=dark)


def frames_of(layers: dict, width: int = 320) -> Iterator[np.ndarray]:
    """Yield pictures of an animation, layers side by side, pair after pair; RGB, uint8."""
    segments, pairs = layers['PA'].shape[:2]
    for segment in range(segments):
        for pair in range(pairs):
            row = [
                pictures[segment, min(pair, len(pictures[0]) - 1)] for pictures in layers.values()
            ]
            yield tile([row], (), list(layers), width)


def grad_cam(model: nn.Module, data: dict, layer: str) -> np.ndarray:
    """Blend GradCAM of the highest score with the frames.

    Args:
        model (nn.Module): A ``Recognizer2D`` with ``PANBackbone``.
        data (dict): A batch of one video, as the pipeline packs it.
        layer (str): Layer of the model, such as 'backbone/backbone/layer4'.

    Returns:
        np.ndarray: RGB, uint8, shape (T, m, H, W, 3).
    """
    blended, _ = GradCAM(model, layer)(data)  # (1, T·m, H, W, 3) in 0 … 1
    blended = (blended[0].clamp(0, 1).cpu().numpy() * 255).astype(np.uint8)
    return blended.reshape(model.backbone.num_segments, -1, *blended.shape[1:])
