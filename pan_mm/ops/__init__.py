"""Persistence of Appearance as an operator: one reference, and fast paths held to it."""

from .persistence import BACKENDS, persistence_of_appearance, select_backend

__all__ = ['BACKENDS', 'persistence_of_appearance', 'select_backend']
