"""PA as attention over the features of a frame."""

from .pa_attention import PAAttentionBackbone

__all__ = ['PAAttentionBackbone']
