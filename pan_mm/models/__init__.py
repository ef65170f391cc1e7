from .aggregation import VariousTimescaleAggregation
from .causal_shift import MobileNetV2CausalTSM, ResNetCausalTSM
from .pan_backbone import PANBackbone
from .persistence import PersistenceOfAppearance
from .vap_head import VAPHead

__all__ = [
    'MobileNetV2CausalTSM',
    'PANBackbone',
    'PersistenceOfAppearance',
    'ResNetCausalTSM',
    'VAPHead',
    'VariousTimescaleAggregation',
]
