from .aggregation import VariousTimescaleAggregation
from .pan_backbone import PANBackbone
from .pan_ensemble import PANEnsemble
from .persistence import PersistenceOfAppearance
from .vap_head import VAPHead

__all__ = [
    'PANBackbone',
    'PANEnsemble',
    'PersistenceOfAppearance',
    'VAPHead',
    'VariousTimescaleAggregation',
]
