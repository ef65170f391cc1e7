"""PAN as registered parts: the motion cue, the backbone around it, the head, the ensemble."""

from .aggregation import VariousTimescaleAggregation
from .data_preprocessor import PANDataPreprocessor
from .motion_cues import FrameDifference
from .pan_backbone import PANBackbone
from .pan_ensemble import PANEnsemble
from .persistence import PersistenceOfAppearance
from .segment_pooling import SegmentPooling
from .vap_head import VAPHead

__all__ = [
    'FrameDifference',
    'PANBackbone',
    'PANDataPreprocessor',
    'PANEnsemble',
    'PersistenceOfAppearance',
    'SegmentPooling',
    'VAPHead',
    'VariousTimescaleAggregation',
]
