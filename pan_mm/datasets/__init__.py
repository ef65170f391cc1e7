from .integrity import DataError, check_annotations
from .motion_shapes import MotionShapesDataset
from .sampling import PANSampleFrames
from .video import VideoDecode, VideoError, VideoInit

__all__ = [
    'DataError',
    'MotionShapesDataset',
    'PANSampleFrames',
    'VideoDecode',
    'VideoError',
    'VideoInit',
    'check_annotations',
]
