"""Pictures of frames, motion maps, flow and weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Optional, Union

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

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


def optical_flow(frames: np.ndarray) -> np.ndarray:
    """Dense optical flow (DIS) between adjacent frames.

    Args:
        frames (np.ndarray): RGB, uint8, shape (m, H, W, 3), H and W at least 12.

    Returns:
        np.ndarray: Pixels per frame, float32, shape (m - 1, H, W, 2).
    """
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grays = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    return np.stack([dis.calc(one, other, None) for one, other in zip(grays, grays[1:])])


def paint_flow(flow: np.ndarray) -> np.ndarray:
    """Color flow: hue is its direction, brightness its speed up to the 99.5th percentile.

    Args:
        flow (np.ndarray): Pixels per frame, shape (…, H, W, 2).

    Returns:
        np.ndarray: RGB, uint8, shape (…, H, W, 3).
    """
    speed = np.hypot(flow[..., 0], flow[..., 1])
    peak = max(float(np.percentile(speed, 99.5)), 1.0)
    hue = (np.arctan2(flow[..., 1], flow[..., 0]) / (2 * np.pi) % 1) * 179
    value = np.clip(speed / peak * 255, 0, 255)
    hsv = np.stack([hue, np.full_like(hue, 255), value], axis=-1).astype(np.uint8)
    return cv2.cvtColor(hsv.reshape(-1, flow.shape[-2], 3), cv2.COLOR_HSV2RGB).reshape(hsv.shape)


def tile(
    rows: Sequence[Sequence[np.ndarray]],
    row_names: Sequence[str] = (),
    column_names: Sequence[str] = (),
    width: int = 160,
    dark: bool = False,
) -> np.ndarray:
    """Put pictures of one shape into a grid with names beside and above.

    Args:
        rows (list[list[np.ndarray]]): RGB pictures, uint8, shape (H, W, 3) each.
        row_names (list[str]): A name per row.
        column_names (list[str]): A name per column.
        width (int): Pixels that a picture is scaled to. Defaults to 160.
        dark (bool): Light names on dark paper. Defaults to False.

    Returns:
        np.ndarray: RGB, uint8.
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


def weights_chart(weights: np.ndarray, width: int = 480, height: int = 220) -> np.ndarray:
    """Draw VAP's weights as bars, grouped by timescale; the dashed line is the equal weight.

    Args:
        weights (np.ndarray): Shape (T - 1,), T a power of two, coarsest level first, as
            ``VariousTimescaleAggregation.weigh`` gives them.
        width (int): Pixels. Defaults to 480.
        height (int): Pixels. Defaults to 220.

    Returns:
        np.ndarray: RGB, uint8, shape (height, width, 3).
    """
    count = len(weights)
    scales = [2**i for i in range(count.bit_length())]
    levels = np.repeat(range(len(scales)), scales)
    places = np.arange(count) + levels  # an empty one between levels
    figure = Figure((width / 100, height / 100), dpi=100, layout='constrained')
    axes = figure.subplots()
    bars = axes.bar(places, weights, color='#3a6ea5')
    if count < 8:
        axes.bar_label(bars, fmt='%.2f', fontsize=8)
    axes.axhline(1 / count, color='#a0a0a0', linestyle='--', zorder=0)
    axes.text(0.75, 1 / count, 'equal', color='#a0a0a0', va='bottom', fontsize=8)
    own = [levels == level for level in range(len(scales))]
    names = [f's = {s}\n{weights[o].sum():.0%}' for s, o in zip(scales, own)]
    axes.set_xticks([places[o].mean() for o in own], names)
    axes.set_yticks([])
    axes.set_ylim(0, 1.15 * max(weights.max(), 2 / count))
    axes.set_title("VAP's weights, by timescale", fontsize=9)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=8)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


def write_animation(path: Union[str, Path], pictures: Sequence[np.ndarray], fps: float = 8) -> None:
    """Write RGB pictures of one shape as .gif or .mp4.

    Raises:
        ValueError: If the suffix is another one.
        OSError: If the file cannot be written.
    """
    suffix = Path(path).suffix
    if suffix not in ('.gif', '.mp4'):
        raise ValueError(f'{path}: an animation is written as .gif or .mp4')
    with atomic_write(path) as part:
        if suffix == '.gif':
            first, *others = (Image.fromarray(picture).quantize(256) for picture in pictures)
            duration = round(1000 / fps)
            first.save(part, save_all=True, append_images=others, duration=duration, loop=0)
        else:
            _write_mp4(part, pictures, fps)


def _write_mp4(part: str, pictures: Sequence[np.ndarray], fps: float) -> None:
    height, width = (size - size % 2 for size in pictures[0].shape[:2])  # codecs want even
    writer = cv2.VideoWriter(part, cv2.VideoWriter.fourcc(*'mp4v'), fps, (width, height))
    if not writer.isOpened():
        raise OSError(f'{part}: OpenCV cannot write MP4 here')
    for picture in pictures:
        writer.write(np.ascontiguousarray(picture[:height, :width, ::-1]))
    writer.release()


def write_picture(path: Union[str, Path], picture: np.ndarray) -> None:
    """Write an RGB picture, uint8, shape (H, W, 3), in the format of the suffix.

    Raises:
        ValueError: If Pillow knows no such suffix.
        OSError: If the file cannot be written.
    """
    with atomic_write(path) as part:
        Image.fromarray(picture).save(part)
