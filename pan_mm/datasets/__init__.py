from .checks.annotations import DataError, check_annotations
from .decoding.door import VideoError
from .decoding.sparse_pyav import SparsePyAVDecode, SparsePyAVInit
from .decoding.video import VideoDecode, VideoInit
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
