from .inferencer import PANInferencer

__all__ = ['PANInferencer']
