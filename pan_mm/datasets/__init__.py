"""Sampling and decoding of frames, and checks of lists and files."""

from .class_balanced_sampler import ClassBalancedSampler
from .decoding import VideoDecode, VideoInit
from .motion_shapes.dataset import MotionShapesDataset
from .rand_augment import ClipRandAugment
from .sampling import PANSampleFrames, ReverseFrames

__all__ = [
    'ClassBalancedSampler',
    'ClipRandAugment',
    'MotionShapesDataset',
    'PANSampleFrames',
    'ReverseFrames',
    'VideoDecode',
    'VideoInit',
]
