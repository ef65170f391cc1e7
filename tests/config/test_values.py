"""Values that no option of their kind can have."""

from typing import Optional, Union

import pytest
from torch import Tensor

from pan_mm.config.overrides import check_settings
from pan_mm.config.values import fault_of, hints_of
from pan_mm.utils.errors import ConfigError


@pytest.mark.parametrize(
    ('name', 'value', 'hint', 'fault'),
    [
        ('num_classes', 'two', int, "'two' is a text"),
        ('num_classes', 2.0, int, '2.0 is not a whole number'),
        ('dropout', '0.5x', float, 'is a text'),
        ('depth', 18.5, Optional[int], 'a whole number'),
        ('num_workers', -1, int, 'the least is 0'),
        ('val_interval', 0, int, 'the least is 1'),
        ('lr', '1e-3x', Union[float, Tensor], 'is a text'),
        ('batch_size', 4.0, None, 'a whole number'),
        ('dropout', 1, float, ''),
        ('dropout', None, Optional[float], ''),
        ('norm_eval', True, bool, ''),
        ('pretrained', 'a.pth', Optional[str], ''),
        ('unknown', 'text', None, ''),
        ('scale', 'text', Union[int, str], ''),
    ],
)
def test_fault(name, value, hint, fault):
    found = fault_of(name, value, hint)
    assert fault in found if fault else not found


def test_hints_of_parents():
    class Base:
        def __init__(self, width: int, depth: float):
            pass

    class Own(Base):
        def __init__(self, depth: int, **kwargs):
            super().__init__(**kwargs)

    assert hints_of(Own) == dict(width=int, depth=int)


def test_each_is_named_by_its_place():
    cfg = dict(
        model=dict(type='Recognizer2D', cls_head=dict(type='VAPHead', num_classes='two')),
        train_dataloader=dict(batch_size=4.0, num_workers=-1),
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=1, val_interval=0),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr='1e-3x')),
    )
    with pytest.raises(ConfigError) as error:
        check_settings(cfg)
    for place in (
        'model.cls_head.num_classes',
        'train_dataloader.batch_size',
        'train_dataloader.num_workers',
        'train_cfg.val_interval',
        'optim_wrapper.optimizer.lr',
    ):
        assert f'{place}: ' in str(error.value)
