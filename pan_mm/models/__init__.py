"""PAN as registered parts: the motion cue, the backbone around it, the head, the ensemble."""

from .aggregation import VariousTimescaleAggregation
from .causal_shift import MobileNetV2CausalTSM, ResNetCausalTSM
from .data_preprocessor import PANDataPreprocessor
from .pan_backbone import PANBackbone
from .pan_ensemble import PANEnsemble
from .persistence import PersistenceOfAppearance
from .vap_head import VAPHead

__all__ = [
    'MobileNetV2CausalTSM',
    'PANBackbone',
    'PANDataPreprocessor',
    'PANEnsemble',
    'PersistenceOfAppearance',
    'ResNetCausalTSM',
    'VAPHead',
    'VariousTimescaleAggregation',
]
