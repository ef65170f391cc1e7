"""Recognition of whole videos: loading, optimizing, predicting, fusing scores."""
