"""Recognizers at work on streams: sources of frames, scores as they come, events."""
