"""Recognizers outside training: export, the Hub, streams, a server. Only ``cli`` imports this."""
