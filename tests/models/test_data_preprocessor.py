import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample

NORMALIZE = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])


def outputs(inputs, training=False, **kwargs):
    """The batch that MMAction2's preprocessor makes, and the one that ours makes."""
    for name in ('ActionDataPreprocessor', 'PANDataPreprocessor'):
        preprocessor = MODELS.build(dict(type=name, **{**NORMALIZE, **kwargs}))
        torch.manual_seed(0)
        samples = [ActionDataSample().set_gt_label(i) for i in range(len(inputs))]
        data = dict(inputs=list(inputs), data_samples=samples)
        yield preprocessor(data, training)['inputs']


def clips(*shapes):
    return [torch.randint(0, 256, shape, dtype=torch.uint8) for shape in shapes]


BLENDING = dict(type='MixupBlending', num_classes=5, alpha=0.3)


@pytest.mark.parametrize(
    ('shapes', 'kwargs'),
    [
        ([(4, 3, 7, 9)], {}),
        ([(4, 3, 7, 9)] * 3, {}),
        ([(2, 3, 6, 8), (2, 3, 5, 9)], {}),  # padded
        ([(2, 3, 6, 8)], dict(to_rgb=True)),
        ([(2, 3, 6, 8)], dict(mean=None, std=None)),
        ([(2, 3, 6, 8)], dict(mean=[128.0], std=[64.0])),
        ([(1, 3, 4, 6, 8)], dict(format_shape='NCTHW')),
        ([(2, 3, 6, 8)] * 2, dict(training=True, blending=BLENDING)),
    ],
)
@pytest.mark.parametrize('channels_last', [False, True])
def test_equals_mmaction2(shapes, kwargs, channels_last):
    inputs = clips(*shapes)
    if channels_last and inputs[0].ndim == 4:  # as FormatShape leaves them
        inputs = [clip.to(memory_format=torch.channels_last) for clip in inputs]
    expected, batch = outputs(inputs, **kwargs)
    assert batch.dtype == torch.float32
    assert torch.equal(batch, expected)


class TestStatisticsOfABackbone:
    def test_reach_the_frames(self):
        kind = 'pan_mm.EfficientNetLite0'
        (clip,) = clips((4, 3, 7, 9))
        preprocessor = MODELS.build(dict(type='PANDataPreprocessor', mean_std_of=kind))
        batch = preprocessor(dict(inputs=[clip], data_samples=[]))['inputs']
        torch.testing.assert_close(batch[0], (clip - 127.5) / 127.5)
        with pytest.raises(ValueError, match='replaces mean and std; give one'):
            MODELS.build(dict(type='PANDataPreprocessor', mean_std_of=kind, **NORMALIZE))

    def test_that_says_none(self):
        with pytest.raises(ValueError, match='ResNetTSM does not say its mean and std; give both'):
            MODELS.build(dict(type='PANDataPreprocessor', mean_std_of='ResNetTSM'))
