# Your own videos for 3D models: the frames of the eight segments are one clip.
_base_ = './custom.py'

from pan_mm.config.pipelines import set_arguments

set_arguments(_base_, 'PANSampleFrames', type='UniformSample', clip_len=8, num_clips=1)
set_arguments(_base_, 'FormatShape', input_format='NCTHW')
