# For an accelerator.
_base_ = './adamw_30e.py'

optim_wrapper = dict(type='AmpOptimWrapper', dtype='bfloat16')
