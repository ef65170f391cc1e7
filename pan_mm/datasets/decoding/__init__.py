"""Transforms that open and decode videos."""
