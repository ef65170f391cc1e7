from .optim_constructor import PANOptimWrapperConstructor

__all__ = ['PANOptimWrapperConstructor']
