"""Pictures of frames and motion maps."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Optional, Union

import cv2
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from pan_mm.models.streams import streams_of
from pan_mm.utils.files import atomic_write

LIGHT, DARK = ('#1e1e1e', '#ffffff'), ('#e1e4e8', '#0d1117')  # ink and paper
GAP = 4  # pixels between pictures


def paint_maps(maps: np.ndarray, peak: Optional[float] = None) -> np.ndarray:
    """Color non-negative maps, dark (0) to bright (``peak`` and above).

    Args:
        maps (np.ndarray): Shape (…, H, W).
        peak (float, optional): Defaults to the 99.5th percentile of all of them, so that maps
            given together can be compared.

    Returns:
        np.ndarray: RGB, uint8, shape (…, H, W, 3).
    """
    if peak is None:
        peak = float(np.percentile(maps, 99.5))
    gray = np.clip(maps / max(peak, 1e-12) * 255, 0, 255).astype(np.uint8)
    flat = cv2.applyColorMap(gray.reshape(-1, maps.shape[-1]), cv2.COLORMAP_INFERNO)
    return flat[..., ::-1].reshape(*maps.shape, 3)


def tile(
    rows: Sequence[Sequence[np.ndarray]],
    row_names: Sequence[str] = (),
    column_names: Sequence[str] = (),
    width: int = 160,
    dark: bool = False,
) -> np.ndarray:
    """Put pictures of one shape into a grid with names beside and above; RGB, uint8.

    Args:
        rows (list[list[np.ndarray]]): RGB pictures, uint8, shape (H, W, 3) each.
        row_names (list[str]): A name per row.
        column_names (list[str]): A name per column.
        width (int): Pixels that a picture is scaled to. Defaults to 160.
        dark (bool): Light names on dark paper. Defaults to False.
    """
    ink, paper = DARK if dark else LIGHT
    font = ImageFont.load_default(13)
    height = max(1, round(rows[0][0].shape[0] * width / rows[0][0].shape[1]))
    left = top = GAP
    if row_names:
        left = 3 * GAP + 1 + int(max(map(font.getlength, row_names)))
    if column_names:
        top = 22
    columns = max(len(row) for row in rows)
    size = (left + columns * (width + GAP), top + len(rows) * (height + GAP))
    canvas = Image.new('RGB', size, paper)
    draw = ImageDraw.Draw(canvas)
    for j, name in enumerate(column_names):
        draw.text((left + j * (width + GAP) + width / 2, top / 2), name, ink, font, anchor='mm')
    for i, name in enumerate(row_names):
        draw.text((GAP, top + i * (height + GAP) + height / 2), name, ink, font, anchor='lm')
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            place = left + j * (width + GAP), top + i * (height + GAP)
            canvas.paste(Image.fromarray(picture).resize((width, height)), place)
    return np.array(canvas)


class Inspection(NamedTuple):
    """A clip as a PAN sees it."""

    frames: np.ndarray  # RGB, uint8, shape (T, m, H, W, 3)
    # PA, or another cue, shape (T, m - 1, H, W) where it has one map of each pair; None for RGB
    pa_maps: Optional[np.ndarray]

    def grid(self, width: int = 160, dark: bool = False) -> np.ndarray:
        """Draw segments side by side, the first frame of each above its maps; RGB, uint8."""
        rows, names = [list(self.frames[:, 0])], ['frame']
        if self.pa_maps is not None:
            rows += [list(pair) for pair in paint_maps(self.pa_maps).swapaxes(0, 1)]
            names += [f'PA {number}' for number in range(1, len(rows))]
        columns = [f'segment {number}' for number in range(1, len(self.frames) + 1)]
        return tile(rows, names, columns, width, dark=dark)

    def animation(self, width: int = 320) -> list:
        """Draw each frame beside its map, pair after pair; RGB, uint8."""
        maps = paint_maps(self.pa_maps)
        return [
            tile([[self.frames[t, pair], maps[t, pair]]], (), ('frame', 'PA'), width)
            for t, pair in np.ndindex(maps.shape[:2])
        ]


@torch.no_grad()
def inspect_clip(model: nn.Module, inputs: Tensor) -> Inspection:
    """Compute the maps that a PAN makes of a clip.

    Args:
        model (nn.Module): A ``Recognizer2D`` with ``PANBackbone``, or a ``PANEnsemble`` of them, of
            which the first stream with PA counts.
        inputs (Tensor): Frames as the pipeline packs them: RGB, not normalized, shape
            (views·T·m, 3, H, W). Only the first view counts.

    Raises:
        ValueError: If the model has no ``PANBackbone``.
    """
    streams = [recognizer.backbone for recognizer in streams_of(model).values()]
    if not streams:
        raise ValueError(f'only a recognizer with PANBackbone has PA maps, got {type(model)}')
    backbone = min(streams, key=lambda backbone: backbone.stream == 'rgb')
    inputs = inputs[: backbone.num_segments * backbone.clip_len]
    x = model.data_preprocessor(dict(inputs=[inputs], data_samples=[]))['inputs'][0]
    pa_maps = None
    if backbone.stream != 'rgb':
        maps = backbone.persistence(x.unflatten(0, (-1, backbone.clip_len)))  # (T, m, 3, H, W)
        pa_maps = maps.float().cpu().numpy()
    frames = inputs.unflatten(0, (-1, backbone.clip_len)).permute(0, 1, 3, 4, 2)
    return Inspection(frames.clamp(0, 255).to(torch.uint8).cpu().numpy(), pa_maps)


def write_animation(path: Union[str, Path], pictures: Sequence[np.ndarray], fps: float = 8) -> None:
    """Write RGB pictures of one shape as an animated .gif."""
    first, *others = (Image.fromarray(picture).quantize(256) for picture in pictures)
    with atomic_write(path) as part:
        first.save(part, save_all=True, append_images=others, duration=round(1000 / fps), loop=0)


def write_picture(path: Union[str, Path], picture: np.ndarray) -> None:
    """Write an RGB picture, uint8, shape (H, W, 3), in the format of the suffix."""
    with atomic_write(path) as part:
        Image.fromarray(picture).save(part)
