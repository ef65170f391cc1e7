from .integrity import DataError, check_annotations
from .sampling import PANSampleFrames
from .video import VideoDecode, VideoError, VideoInit

__all__ = [
    'DataError',
    'PANSampleFrames',
    'VideoDecode',
    'VideoError',
    'VideoInit',
    'check_annotations',
]
