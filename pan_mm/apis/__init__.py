"""The short public face: what a program imports to use a recognizer."""

from pan_mm.export import export
from pan_mm.export.hub import push_to_hub, save_pretrained
from pan_mm.inference.inferencer import PANInferencer
from pan_mm.inference.recognizer import get_model, load_recognizer
from pan_mm.inference.recognizer import get_model as from_pretrained
from pan_mm.inference.zoo import list_models
from pan_mm.streaming.recognizer import StreamRecognizer

__all__ = [
    'PANInferencer',
    'StreamRecognizer',
    'export',
    'from_pretrained',
    'get_model',
    'list_models',
    'load_recognizer',
    'push_to_hub',
    'save_pretrained',
]
