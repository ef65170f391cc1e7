"""Live recognition: sources of frames, predictions, events."""

from .recognizer import StreamRecognizer

__all__ = ['StreamRecognizer']
