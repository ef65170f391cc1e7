"""Read the pictures that cameras send."""

import io
import math

import numpy as np
from PIL import Image
from starlette.exceptions import HTTPException

from pan_mm.datasets.container import MOST_SLENDER

from .limits import Limits

# A scan of a few bytes costs a pass over the whole image: a progressive JPEG of 100 KB can take
# a minute. A browser's canvas writes one scan; three are for separate color planes.
SCAN, SCANS = b'\xff\xda', 3


def decode_picture(picture: bytes, limits: Limits) -> np.ndarray:
    """Decode a JPEG, shrunk to ``max_input`` pixels at most: RGB, uint8, shape (H, W, 3)."""
    if picture.count(SCAN) > SCANS:
        raise HTTPException(422, 'a frame must be a JPEG of one scan, not progressive')
    try:
        image = Image.open(io.BytesIO(picture), formats=['JPEG'])
        width, height = image.size
        is_slender = max(width, height) > MOST_SLENDER * min(width, height)
        if width * height > 4 * limits.max_input or is_slender:
            raise HTTPException(413, f'a frame has {width} × {height} pixels; film smaller')
        side = math.isqrt(limits.max_input)
        image.thumbnail((side, side))
        return np.array(image.convert('RGB'))
    except Image.DecompressionBombError as error:
        raise HTTPException(413, 'a frame of the camera is too large; film smaller') from error
    except (ValueError, OSError) as error:
        raise HTTPException(422, 'a frame of the camera is not a picture; film again') from error
