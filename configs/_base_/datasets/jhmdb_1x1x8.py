# JHMDB for models that see one frame of each segment.
_base_ = './jhmdb.py'

from pan_mm.config.pipelines import set_arguments

set_arguments(_base_, 'PANSampleFrames', clip_len=1)
