# For datasets without a validation split: the last checkpoint is the result.
_base_ = './default_runtime.py'

default_hooks = dict(checkpoint=dict(save_best=None, max_keep_ckpts=1))
val_cfg = None
val_evaluator = None
