_base_ = './adamw_30e_bf16.py'

train_cfg = dict(max_epochs=60)
_base_.param_scheduler[1].update(end=60, T_max=60)
