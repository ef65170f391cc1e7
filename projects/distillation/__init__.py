"""Training that learns from a trained model as well as from labels."""

from .distillation_hook import DistillationHook

__all__ = ['DistillationHook']
