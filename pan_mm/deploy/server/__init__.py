"""A web page and an HTTP API for a trained recognizer. Imported only by ``serve``."""
