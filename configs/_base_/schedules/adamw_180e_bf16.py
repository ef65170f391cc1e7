_base_ = './adamw_60e_bf16.py'

train_cfg = dict(max_epochs=180)
_base_.param_scheduler[1].update(end=180, T_max=180)
