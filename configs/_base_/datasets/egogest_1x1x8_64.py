# Gestures for models that see one frame of each segment.
_base_ = './egogest_64.py'

from pan_mm.config.pipelines import set_arguments

set_arguments(_base_, 'PANSampleFrames', clip_len=1)
