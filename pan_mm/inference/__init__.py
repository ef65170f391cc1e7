"""Recognizers at work on whole videos: loading, optimizing, predicting, fusing scores."""
