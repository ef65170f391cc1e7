# For accelerators, and for processors that multiply bfloat16 (AMX, AVX512-BF16).
_base_ = './adamw_30e.py'

optim_wrapper = dict(type='AmpOptimWrapper', dtype='bfloat16')
