"""The short public face: what a program imports to use a recognizer."""

from pan_mm.inference.inferencer import PANInferencer
from pan_mm.inference.recognizer import get_model, load_recognizer
from pan_mm.inference.zoo import list_models

__all__ = ['PANInferencer', 'get_model', 'list_models', 'load_recognizer']
