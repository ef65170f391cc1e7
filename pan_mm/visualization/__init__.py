"""Pictures of what PAN sees. Tools and hooks import this only when they use it."""

from .pictures import (
    Inspection,
    inspect_clip,
    paint_maps,
    tile,
    write_animation,
    write_picture,
)

__all__ = [
    'Inspection',
    'inspect_clip',
    'paint_maps',
    'tile',
    'write_animation',
    'write_picture',
]
