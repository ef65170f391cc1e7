"""Pictures of frames, motion maps, flow and weights, with OpenCV and Pillow alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Optional, Union

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

INK, PAPER, BAR, FAINT = (30, 30, 30), (255, 255, 255), (58, 110, 165), (160, 160, 160)
LINES = (BAR, (200, 85, 40), (45, 135, 75), (130, 80, 160), (115, 115, 115))


def paint_maps(maps: np.ndarray, peak: Optional[float] = None) -> np.ndarray:
    """Colour non-negative maps, dark (0) to bright (``peak`` and above).

    Args:
        maps (np.ndarray): Shape (…, H, W).
        peak (float, optional): Defaults to the 99.5th percentile of all of them, so that maps
            given together can be compared.

    Returns:
        np.ndarray: RGB, uint8, shape (…, H, W, 3).
    """
    if peak is None:
        peak = float(np.percentile(maps, 99.5))
    grey = np.clip(maps / max(peak, 1e-12) * 255, 0, 255).astype(np.uint8)
    flat = cv2.applyColorMap(grey.reshape(-1, maps.shape[-1]), cv2.COLORMAP_INFERNO)
    return flat[..., ::-1].reshape(*maps.shape, 3)


def optical_flow(frames: np.ndarray) -> np.ndarray:
    """Dense optical flow (DIS) between adjacent frames.

    Args:
        frames (np.ndarray): RGB, uint8, shape (m, H, W, 3), H and W at least 12.

    Returns:
        np.ndarray: Pixels per frame, float32, shape (m - 1, H, W, 2).
    """
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    greys = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    return np.stack([dis.calc(one, other, None) for one, other in zip(greys, greys[1:])])


def paint_flow(flow: np.ndarray, peak: Optional[float] = None) -> np.ndarray:
    """Colour flow: hue is its direction, brightness its speed up to ``peak``.

    Args:
        flow (np.ndarray): Shape (…, H, W, 2).
        peak (float, optional): Defaults to the 99.5th percentile of the speeds, at least 1.

    Returns:
        np.ndarray: RGB, uint8, shape (…, H, W, 3).
    """
    speed = np.hypot(flow[..., 0], flow[..., 1])
    if peak is None:
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
    gap: int = 4,
) -> np.ndarray:
    """Put pictures of one shape into a grid with names beside and above.

    Args:
        rows (list[list[np.ndarray]]): RGB pictures, uint8, shape (H, W, 3) each.
        row_names (list[str]): A name per row.
        column_names (list[str]): A name per column.
        width (int): Pixels that a picture is scaled to. Defaults to 160.
        gap (int): Pixels between pictures. Defaults to 4.

    Returns:
        np.ndarray: RGB, uint8.
    """
    first = rows[0][0]
    height = max(1, round(first.shape[0] * width / first.shape[1]))
    font = _font(13)
    left = max((_text_width(name, font) for name in row_names), default=0)
    left, top = left + 3 * gap if left else gap, 22 if column_names else gap
    columns = max(len(row) for row in rows)
    size = (left + columns * (width + gap), top + len(rows) * (height + gap))
    canvas = Image.new('RGB', size, PAPER)
    draw = ImageDraw.Draw(canvas)
    for j, name in enumerate(column_names):
        draw.text((left + j * (width + gap) + width / 2, top / 2), name, INK, font, anchor='mm')
    for i, row in enumerate(rows):
        y = top + i * (height + gap)
        if i < len(row_names):
            draw.text((gap, y + height / 2), row_names[i], INK, font, anchor='lm')
        for j, picture in enumerate(row):
            scaled = cv2.resize(
                picture,
                (width, height),
                interpolation=cv2.INTER_AREA if width < first.shape[1] else cv2.INTER_LINEAR,
            )
            canvas.paste(Image.fromarray(scaled), (left + j * (width + gap), y))
    return np.array(canvas)


def weights_chart(weights: np.ndarray, width: int = 480, height: int = 220) -> np.ndarray:
    """Bars of VAP's weights, grouped by timescale.

    Args:
        weights (np.ndarray): Shape (T - 1,), T a power of two, coarsest level first, as
            ``VariousTimescaleAggregation.weigh`` gives them.
        width (int): Pixels. Defaults to 480.
        height (int): Pixels. Defaults to 220.

    Returns:
        np.ndarray: RGB, uint8, shape (height, width, 3). The dashed line is the equal weight.
    """
    count = len(weights)
    scales = [2**i for i in range(count.bit_length())]
    canvas = Image.new('RGB', (width, height), PAPER)
    draw = ImageDraw.Draw(canvas)
    small, font = _font(11), _font(13)
    left, right, top, bottom = 16, width - 16, 40, height - 42
    draw.text((width / 2, 14), "VAP's weights, by timescale", INK, font, anchor='mm')
    peak = max(float(weights.max()), 2 / count)
    y = bottom - 1 / count / peak * (bottom - top)
    for dash in range(left, right, 8):
        draw.line((dash, y, dash + 4, y), FAINT)
    slots = count + len(scales) - 1  # an empty slot between levels
    slot = (right - left) / slots
    draw.text((left + 1.5 * slot, y - 3), 'equal', FAINT, small, anchor='ms')
    x, index = float(left), 0
    for scale in scales:
        begin = x
        for _ in range(scale):
            y = bottom - float(weights[index]) / peak * (bottom - top)
            draw.rectangle((x + 2, min(y, bottom - 1), x + slot - 2, bottom), fill=BAR)
            if slot > 26:
                text, place = f'{weights[index]:.2f}', (x + slot / 2, y - 3)
                draw.rectangle(draw.textbbox(place, text, small, anchor='ms'), fill=PAPER)
                draw.text(place, text, INK, small, anchor='ms')
            x, index = x + slot, index + 1
        draw.line((begin + 2, bottom + 6, x - 2, bottom + 6), FAINT)
        share = weights[index - scale : index].sum()
        middle = (begin + x) / 2
        draw.text((middle, bottom + 16), f's = {scale}', INK, small, anchor='mm')
        draw.text((middle, bottom + 30), f'{share:.0%}', INK, small, anchor='mm')
        x += slot
    return np.array(canvas)


def timeline_chart(
    times: np.ndarray,
    scores: np.ndarray,
    names: Sequence[str],
    events: Sequence[tuple] = (),
    width: int = 900,
    height: int = 260,
) -> np.ndarray:
    """Scores over time, one line per class, and the events as bars below them.

    Args:
        times (np.ndarray): Seconds, increasing, shape (P,).
        scores (np.ndarray): Probabilities, shape (P, num_classes). The five classes that rise
            highest are drawn.
        names (list[str]): Of all classes.
        events (list[tuple]): Each (label, start, end, …), as
            :class:`pan_mm.streaming.events.Event`.
        width (int): Pixels. Defaults to 900.
        height (int): Pixels. Defaults to 260.

    Returns:
        np.ndarray: RGB, uint8, shape (height, width, 3).

    Raises:
        ValueError: If there are no times.
    """
    if not len(times):
        raise ValueError('a timeline needs at least one prediction')
    canvas = Image.new('RGB', (width, height), PAPER)
    draw = ImageDraw.Draw(canvas)
    font = _font(13)
    labels = np.argsort(scores.max(axis=0))[::-1][: len(LINES)].tolist()
    left, right, top, bottom = 44, width - 16, 34, height - 52
    begin = min([float(times[0]), *(event[1] for event in events)])
    span = max(float(times[-1]) - begin, 1e-6)

    def place(seconds, score):
        return (
            left + (min(seconds, begin + span) - begin) / span * (right - left),
            bottom - score * (bottom - top),
        )

    for score in (0, 0.5, 1):
        y = place(0, score)[1]
        draw.line((left, y, right, y), (225, 225, 225))
        draw.text((left - 6, y), f'{score:.0%}', INK, font, anchor='rm')
    for tick in np.linspace(begin, begin + span, 6):
        x = place(tick, 0)[0]
        anchor = 'rm' if x > right - 20 else 'mm'
        draw.text((x, height - 12), f'{tick:.1f} s', INK, font, anchor=anchor)
    x = left
    for label, colour in zip(labels, LINES):
        name = _shorten(names[label], 24)
        points = [place(float(t), float(s)) for t, s in zip(times, scores[:, label])]
        if len(points) > 1:
            draw.line(points, colour, 2, joint='curve')
        for px, py in points if len(points) < 60 else ():
            draw.ellipse((px - 2, py - 2, px + 2, py + 2), colour)
        if x + 22 + _text_width(name, font) < right:
            draw.rectangle((x, 9, x + 14, 19), colour)
            draw.text((x + 19, 14), name, INK, font, anchor='lm')
            x += 36 + _text_width(name, font)
    for label, start, end, *_ in events:
        colour = LINES[labels.index(label)] if label in labels else FAINT
        (x0, _), (x1, _) = place(start, 0), place(end, 0)
        row = bottom + 8 + 5 * (labels.index(label) if label in labels else 0)
        draw.rectangle((x0, row, max(x1, x0 + 2), row + 3), colour)
    return np.array(canvas)


def write_animation(path: Union[str, Path], pictures: Sequence[np.ndarray], fps: float = 8) -> None:
    """Write RGB pictures of one shape as .gif or .mp4.

    Raises:
        ValueError: If the suffix is another one.
        OSError: If the file cannot be written.
    """
    path = Path(path)
    if path.suffix == '.gif':
        images = [Image.fromarray(picture).quantize(256) for picture in pictures]
        images[0].save(
            path, save_all=True, append_images=images[1:], duration=round(1000 / fps), loop=0
        )
    elif path.suffix == '.mp4':
        height, width = (size - size % 2 for size in pictures[0].shape[:2])  # codecs want even
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), fps, (width, height))
        if not writer.isOpened():
            raise OSError(f'{path}: OpenCV cannot write it; does the folder exist?')
        for picture in pictures:
            writer.write(np.ascontiguousarray(picture[:height, :width, ::-1]))
        writer.release()
    else:
        raise ValueError(f'{path}: an animation is written as .gif or .mp4')


def _font(size):
    return ImageFont.load_default(size)


def _text_width(text, font):
    return int(font.getlength(text)) + 1


def _shorten(text, length):
    return text if len(text) <= length else text[: length - 1] + '…'
