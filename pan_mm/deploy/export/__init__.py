"""Recognizers as files for other runtimes: ONNX, torch.export, int8, the Hub."""

from .exporter import export
from .hub import push_to_hub, save_pretrained

__all__ = ['export', 'push_to_hub', 'save_pretrained']
