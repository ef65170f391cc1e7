# UTD-MHAD at 64 × 64 pixels, for a matrix of many runs.
_base_ = './utd_mhad.py'

from pan_mm.config.pipelines import set_sizes

set_sizes(_base_, {128: 72, 112: 64})
