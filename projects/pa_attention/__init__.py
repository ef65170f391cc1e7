"""PA as attention over the features of a frame."""

from .pa_attention import AttentionPANBackbone

__all__ = ['AttentionPANBackbone']
