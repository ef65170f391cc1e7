"""Which frames are read, how they are decoded, and whether lists and files are sound."""

from .checks.annotations import DataError, check_annotations
from .decoding.sparse_pyav import SparsePyAVDecode, SparsePyAVInit
from .decoding.video import VideoDecode, VideoError, VideoInit
from .motion_shapes.dataset import MotionShapesDataset
from .sampling import PANSampleFrames, ReverseFrames

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
