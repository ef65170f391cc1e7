"""Cues that can take PA's place, beyond the frame differences of pan_mm."""

from .motion_cues import FrameStack, MotionCues, SignedPersistence

__all__ = ['FrameStack', 'MotionCues', 'SignedPersistence']
