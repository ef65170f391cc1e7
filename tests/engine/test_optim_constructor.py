import pytest
from mmaction.registry import MODELS
from mmengine.optim import build_optim_wrapper

from pan_mm.convert import model_config

RECIPE = dict(
    constructor='PANOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4),
)


@pytest.fixture(scope='module')
def model():
    return MODELS.build(model_config('lite', 18, num_segments=8, num_classes=5))


def multipliers(model, **kwargs):
    """{parameter name: (lr multiplier, weight decay multiplier)} of the built optimizer."""
    names = {id(param): name for name, param in model.named_parameters()}
    groups = build_optim_wrapper(model, dict(RECIPE, **kwargs)).optimizer.param_groups
    return {
        names[id(param)]: (round(group['lr'] / 0.01, 6), round(group['weight_decay'] / 1e-4, 6))
        for group in groups
        for param in group['params']
    }


def expected_multipliers(name):
    if name == 'backbone.persistence.conv.weight' or 'excitation' in name:
        return 5, 1
    if name.startswith('cls_head.fc_cls'):
        return (5, 1) if name.endswith('weight') else (10, 0)
    return (1, 0) if '.bn.' in name else (1, 1)


def test_every_parameter_follows_the_recipe(model):
    found = multipliers(model)
    assert found == {name: expected_multipliers(name) for name, _ in model.named_parameters()}
    assert {(5, 1), (10, 0), (1, 0), (1, 1)} == set(found.values())


def test_bias_of_a_convolution():
    found = multipliers(
        MODELS.build(dict(type='Conv2d', in_channels=3, out_channels=4, kernel_size=3))
    )
    assert found == {'weight': (1, 1), 'bias': (2, 0)}


def test_custom_keys_come_on_top(model):
    keys = {'persistence': dict(lr_mult=0.1), 'backbone': dict(decay_mult=0)}
    found = multipliers(model, paramwise_cfg=dict(custom_keys=keys))
    assert found['backbone.persistence.conv.weight'] == (0.5, 1)
    assert found['backbone.backbone.conv1.conv.weight'] == (1, 0)
    assert found['cls_head.fc_cls.weight'] == (5, 1)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(paramwise_cfg=dict(fc_lr5=True)), 'takes only custom_keys, got fc_lr5'),
        (dict(optimizer=dict(type='AdamW')), 'set it in the optimizer'),
    ],
)
def test_what_cannot_be_heeded_is_refused(model, changes, message):
    with pytest.raises(ValueError, match=message):
        build_optim_wrapper(model, dict(RECIPE, **changes))


def test_frozen_parameters_are_left_out(model):
    weight = model.backbone.persistence.conv.weight
    weight.requires_grad_(False)
    try:
        assert 'backbone.persistence.conv.weight' not in multipliers(model)
    finally:
        weight.requires_grad_(True)
