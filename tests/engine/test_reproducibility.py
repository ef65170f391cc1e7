"""A run can be made again from what its log tells: same seed, same machine, same numbers."""

import importlib.metadata
import json
from pathlib import Path

import pytest
import torch
from mmaction.registry import RUNNERS
from mmengine.config import Config

import pan_mm

CONFIG = (
    Path(__file__).resolve().parents[2]
    / 'configs/recognition/pan/pan-lite_r18_1xb16-4x1x8-4e_motionshapes-rgb.py'
)


@pytest.fixture(scope='module')
def train(tmp_path_factory):
    """Trains on 8 clips of MotionShapes for two steps; returns work_dir, losses and weights."""
    data = tmp_path_factory.mktemp('data')

    def call(seed):
        cfg = Config.fromfile(CONFIG)
        cfg.merge_from_dict(
            {
                'work_dir': str(tmp_path_factory.mktemp('work')),
                'randomness': dict(seed=seed),
                'train_cfg': dict(max_epochs=1, val_begin=9),
                'default_hooks.logger.interval': 1,
                'default_hooks.checkpoint': dict(
                    type='SafeCheckpointHook', interval=-1, save_last=False, save_best=None
                ),
                'train_dataloader': dict(batch_size=4, num_workers=0, persistent_workers=False),
                'val_dataloader': dict(num_workers=0, persistent_workers=False),
                **{
                    f'{split}_dataloader.dataset.{key}': value
                    for split in ('train', 'val')
                    for key, value in dict(
                        data_root=str(data), num_train=8, num_val=2, num_test=2
                    ).items()
                },
            }
        )
        runner = RUNNERS.build(cfg)
        weights = {key: value.clone() for key, value in runner.train().state_dict().items()}
        scalars = next(Path(cfg.work_dir).glob('*/vis_data/scalars.json'))
        lines = [json.loads(line) for line in scalars.read_text().splitlines()]
        return Path(cfg.work_dir), [(line['loss'], line['grad_norm']) for line in lines], weights

    return call


@pytest.mark.slow
def test_same_seed_same_numbers_and_a_log_to_make_them_again(train):
    (work_dir, losses, weights), (_, again, weights_again), (_, other, _) = map(train, (3, 3, 4))
    assert len(losses) == 2
    assert again == losses
    assert all(torch.equal(weights_again[key], weight) for key, weight in weights.items())
    assert other != losses
    log = next(work_dir.glob('*/*.log')).read_text()
    assert 'Command: python ' in log
    assert 'seed: 3' in log
    for name, version in (
        ('pan_mm', pan_mm.__version__),
        ('MMAction2', importlib.metadata.version('mmaction2')),
        ('PyTorch', torch.__version__),
    ):
        assert f'{name}: {version}' in log
    assert 'Processor: ' in log and 'Threads: ' in log
    assert "type='PANBackbone'" in log
