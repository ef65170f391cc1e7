"""The short public face: what a program imports to use a recognizer."""

from pan_mm.export import export
from pan_mm.inference.inferencer import PANInferencer
from pan_mm.inference.recognizer import load_recognizer
from pan_mm.streaming.recognizer import StreamRecognizer

__all__ = ['PANInferencer', 'StreamRecognizer', 'export', 'load_recognizer']
