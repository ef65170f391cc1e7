"""Draw the pictures that the page shows."""

import base64
import io

import numpy as np
from PIL import Image

from pan_mm.visualization import Inspection, paint_maps, tile


def pictures(seen: Inspection) -> list:
    """Draw PA maps, as far as they are there.

    Returns:
        list[dict]: ``name`` ('maps'), ``title``, ``words`` that describe it, and
        ``image``, a PNG as a data address.
    """
    rows, names = [list(seen.frames[:, 0])], ['frame']
    title, words = 'Frames', 'First frame of each segment'
    if seen.pa_maps is not None:
        rows += [list(pair) for pair in paint_maps(seen.pa_maps).swapaxes(0, 1)]
        names += [f'PA {i + 1}' for i in range(len(rows) - 1)]
        title = 'What moves: persistence of appearance'
        words += ', below it the PA map of each pair of adjacent frames, bright where it moves'
    columns = [f'segment {i + 1}' for i in range(len(seen.frames))]
    return [_picture('maps', title, words, tile(rows, names, columns, width=132))]


def live_picture(maps: np.ndarray, peak: float) -> dict:
    """Draw PA maps of a camera's newest segment, shape (m - 1, H, W), in a row."""
    names = [f'PA {number}' for number in range(1, len(maps) + 1)]
    words = 'PA maps of the newest segment, one for each pair of adjacent frames'
    image = tile([list(paint_maps(maps, peak))], (), names, width=200)
    return _picture('live-maps', 'What moves', words, image)


def _picture(name, title, words, image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, 'PNG')
    data = base64.b64encode(file.getvalue()).decode()
    return dict(name=name, title=title, words=words, image=f'data:image/png;base64,{data}')
