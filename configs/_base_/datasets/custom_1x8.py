# The RGB stream sees only one frame of each segment.
_base_ = './custom.py'

from pan_mm.config.pipelines import set_arguments

set_arguments(_base_, 'PANSampleFrames', clip_len=1)
