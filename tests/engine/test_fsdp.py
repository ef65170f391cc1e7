"""MMEngine's FSDP, by its FlexibleRunner, on PAN_Lite in two processes."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import RUNNERS

from pan_mm.utils.checkpoint import load_checkpoint_file

ROOT = Path(__file__).resolve().parents[2]

# Equal batches for one process of four clips and two of two; no noise, and BN as it began.
CONFIG = """
_base_ = ['{root}/configs/recognition/pan/pan-lite_r18_1xb16-4x1x8-4e_motionshapes-rgb.py']
model = dict(backbone=dict(backbone=dict(norm_eval=True)), cls_head=dict(dropout_ratio=0.0))
clips = dict(num_train=4, num_val=1, num_test=1, size=48, data_root='{folder}/data')
train_dataloader = dict(
    batch_size={batch_size}, num_workers=0, persistent_workers=False,
    sampler=dict(shuffle=False),
    dataset=dict(pipeline={{{{_base_.test_pipeline}}}}, **clips))
train_cfg = dict(max_epochs=2)
val_dataloader, val_cfg, val_evaluator = None, None, None
optim_wrapper = dict(
    _delete_=True, constructor='PANOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=0.002, momentum=0.9, weight_decay=1e-4))
param_scheduler = []
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(save_best=None))
randomness = dict(seed=0)
"""
LAUNCHED = """
import sys
from pan_mm.engine import run_tool
arguments = [{config!r}, '--work-dir', {work_dir!r}, '--launcher', 'pytorch']
for more in (['--cfg-options', 'train_cfg.max_epochs=1'], ['--resume']):
    sys.argv = ['train.py', *arguments, *more]
    run_tool('train.py')
"""
LOG_NORM = """
_base_ = ['./documented.py']
optim_wrapper = dict(clip_grad=dict(_delete_=True, max_norm=1e9))
"""


def documented():
    """The lines for a config in docs/reliability.md."""
    page = (ROOT / 'docs' / 'reliability.md').read_text('utf-8')
    (snippet,) = re.findall(r"```python\n(runner_type = 'FlexibleRunner'\n.*?)```", page, re.DOTALL)
    return snippet


@pytest.mark.slow
def test_two_processes_equal_one_also_after_a_resume(launch, tmp_path):
    config, work_dir = tmp_path / 'fsdp.py', tmp_path / 'two'
    (tmp_path / 'base.py').write_text(CONFIG.format(root=ROOT, folder=tmp_path, batch_size=2))
    (tmp_path / 'documented.py').write_text("_base_ = ['./base.py']\n" + documented())
    config.write_text(LOG_NORM)
    script = tmp_path / 'launched.py'
    script.write_text(LAUNCHED.format(config=str(config), work_dir=str(work_dir)))
    done = launch(2, script)
    assert done.returncode == 0, done.stdout + done.stderr
    two = load_checkpoint_file(work_dir / 'epoch_2.pth')

    (tmp_path / 'one.py').write_text(CONFIG.format(root=ROOT, folder=tmp_path, batch_size=4))
    cfg = Config.fromfile(tmp_path / 'one.py')
    cfg.work_dir = str(tmp_path / 'one')
    cfg.optim_wrapper.clip_grad = dict(max_norm=1e9)
    runner = RUNNERS.build(cfg)
    runner.train()
    one = load_checkpoint_file(tmp_path / 'one' / 'epoch_2.pth')
    assert one['state_dict'].keys() == two['state_dict'].keys()
    for name, weight in one['state_dict'].items():
        torch.testing.assert_close(two['state_dict'][name], weight, rtol=1e-5, atol=1e-5, msg=name)
    # Why clip_grad should not be used: each process sees the norm of its share.
    norms = [run['message_hub']['log_scalars']['train/grad_norm'].data[0][0] for run in (one, two)]
    assert norms[1] < norms[0] / 2
