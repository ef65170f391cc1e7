"""What a user does with a PAN works on networks of timm too: each command, on a real config."""

import pytest
from torch import nn

from pan_mm.apis import PANInferencer
from pan_mm.inference.complexity import get_complexity
from pan_mm.inference.optimization import optimize
from pan_mm.inference.recognizer import load_recognizer

pytest.importorskip('timm')
NETWORKS = {'pan_mm.EfficientNetLite0': 1280, 'timm.regnetx_002': 368}
NETWORK = """
model['backbone']['backbone'] = dict(_delete_=True, type='{kind}')
model['cls_head']['in_channels'] = {channels}
model['data_preprocessor'] = dict(
    _delete_=True, type='PANDataPreprocessor', mean_std_of='{kind}'
)
"""


@pytest.fixture(params=NETWORKS)
def kind(request):
    return request.param


@pytest.fixture
def made(kind, make_config, make_checkpoint):
    """Config and checkpoint of a PAN_Lite on this network."""
    config = make_config(more=NETWORK.format(kind=kind, channels=NETWORKS[kind]))
    return config, make_checkpoint(config)


def test_optimized_predicts_the_same(made, videos):
    config, checkpoint = made
    clips = [videos / '1.mp4', videos / '3.mp4']
    plain = PANInferencer(config, checkpoint, 'cpu')(clips)
    quick = PANInferencer(config, checkpoint, 'cpu', optimize=())(clips)
    for one, other in zip(quick, plain):
        assert [t['label'] for t in one['top']] == [t['label'] for t in other['top']]
        assert one['top'][0]['score'] == pytest.approx(other['top'][0]['score'], rel=1e-3)
    model = optimize(load_recognizer(config, checkpoint, 'cpu'))
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())


def test_complexity(kind, made):
    config, _ = made
    whole = get_complexity(load_recognizer(config, device='cpu'), (16, 3, 64, 64))
    # 224 x 224 costs 0.385 and 0.20 G with three channels; 64 x 64 a twelfth. PA is apart.
    expected = {'pan_mm.EfficientNetLite0': 0.385e9, 'timm.regnetx_002': 0.203e9}[kind]
    pa = 4 * 3 * 8 * 3 * 49 * 64 * 64
    assert whole.macs - pa == pytest.approx(4 * expected * (64 / 224) ** 2, rel=0.08)
