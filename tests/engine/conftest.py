"""A recognizer that trains in a moment, on the clips of the fixture ``videos``."""

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import RUNNERS

import pan_mm  # noqa: F401  registers the parts


@MODELS.register_module()
class OneConv(torch.nn.Sequential):
    """A backbone of a third of a megabyte."""

    def __init__(self):
        super().__init__(
            torch.nn.Conv2d(3, 512, 7, stride=8), torch.nn.BatchNorm2d(512), torch.nn.ReLU()
        )


SAMPLE = dict(type='PANSampleFrames', clip_len=1, num_clips=4)
PIPELINE = [
    dict(type='VideoInit'),
    SAMPLE,
    dict(type='VideoDecode'),
    dict(type='Resize', scale=(32, 32), keep_ratio=False),
    dict(type='FormatShape', input_format='NCHW'),
    dict(type='PackActionInputs', meta_keys=('filename',)),
]


def tiny_config(folder, root, names, **changes):
    """Config of two epochs over the videos ``names`` of the folder ``root``.

    ``first`` stands before its pipeline, ``pack`` at its end; ``also`` names further splits, of
    the same videos.
    """
    first, also = changes.pop('first', []), changes.pop('also', ())
    pack = changes.pop('pack', PIPELINE[-1])
    (folder / 'list.txt').write_text(''.join(f'{name} {i % 2}\n' for i, name in enumerate(names)))

    def loader(test_mode):
        return dict(
            batch_size=2,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=not test_mode),
            dataset=dict(
                type='VideoDataset',
                ann_file=str(folder / 'list.txt'),
                data_prefix=dict(video=str(root)),
                pipeline=first
                + [dict(t, test_mode=test_mode) if t is SAMPLE else t for t in PIPELINE[:-1]]
                + [pack],
                test_mode=test_mode,
            ),
        )

    cfg = Config(
        dict(
            model=dict(
                type='Recognizer2D',
                backbone=dict(type='OneConv'),
                cls_head=dict(
                    type='VAPHead',
                    num_classes=2,
                    in_channels=512,
                    num_segments=4,
                    average_clips='prob',
                ),
                data_preprocessor=dict(
                    type='ActionDataPreprocessor',
                    mean=[123.675, 116.28, 103.53],
                    std=[58.395, 57.12, 57.375],
                ),
            ),
            work_dir=str(folder / 'work'),
            experiment_name=str(folder).replace('/', '_'),
            default_scope='mmaction',
            runner_type='Runner',
            train_dataloader=loader(False),
            train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=2),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9)),
            default_hooks=dict(
                checkpoint=dict(type='SafeCheckpointHook', interval=-1, save_last=False),
                logger=dict(type='LoggerHook', interval=1),
            ),
            randomness=dict(seed=0),
        )
    )
    for split in also:
        cfg[f'{split}_dataloader'] = loader(True)
        cfg[f'{split}_cfg'] = dict(type=f'{split.title()}Loop')
        cfg[f'{split}_evaluator'] = dict(type='AccMetric')
    cfg.merge_from_dict(changes)
    return cfg


@pytest.fixture
def make_config(tmp_path, videos):
    """Makes a :func:`tiny_config` in the test's folder."""
    return lambda names, **changes: tiny_config(tmp_path, videos, names, **changes)


@pytest.fixture
def make_runner(tmp_path, videos):
    """Builds the runner of a :func:`tiny_config` in the test's folder."""

    def make(names=('0.mp4', '1.mp4', '2.mp4', '3.mp4'), root=videos, folder=tmp_path, **changes):
        folder.mkdir(exist_ok=True)
        return RUNNERS.build(tiny_config(folder, root, names, **changes))

    return make


@pytest.fixture
def log(tmp_path):
    """Reads what a runner has logged."""
    return lambda: ''.join(path.read_text() for path in sorted(tmp_path.rglob('*.log')))
