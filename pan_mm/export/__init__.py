"""Recognizers as files for other runtimes: ONNX, OpenVINO, torch.export, int8."""

from .exporter import export

__all__ = ['export']
