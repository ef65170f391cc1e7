# For an accelerator.
_base_ = './adamw_15e.py'

optim_wrapper = dict(type='AmpOptimWrapper', dtype='bfloat16')
