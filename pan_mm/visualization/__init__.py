"""Pictures of what PAN sees. Tools and hooks import this only when they use it."""

from .inspection import Inspection, inspect_clip
from .pictures import (
    optical_flow,
    paint_flow,
    paint_maps,
    tile,
    weights_chart,
    write_animation,
    write_picture,
)

__all__ = [
    'Inspection',
    'inspect_clip',
    'optical_flow',
    'paint_flow',
    'paint_maps',
    'tile',
    'weights_chart',
    'write_animation',
    'write_picture',
]
