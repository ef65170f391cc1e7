from .integrity import DataError, check_annotations
from .motion_shapes import MotionShapesDataset
from .sampling import PANSampleFrames, ReverseFrames
from .sparse_pyav import SparsePyAVDecode, SparsePyAVInit
from .video import VideoDecode, VideoError, VideoInit

__all__ = [
    'DataError',
    'MotionShapesDataset',
    'PANSampleFrames',
    'ReverseFrames',
    'SparsePyAVDecode',
    'SparsePyAVInit',
    'VideoDecode',
    'VideoError',
    'VideoInit',
    'check_annotations',
]
