from .aggregation import VariousTimescaleAggregation
from .pan_backbone import PANBackbone
from .persistence import PersistenceOfAppearance
from .vap_head import VAPHead

__all__ = ['PANBackbone', 'PersistenceOfAppearance', 'VAPHead', 'VariousTimescaleAggregation']
