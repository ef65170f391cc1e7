"""What a user does with a PAN works on networks of timm too: each command, on a real config."""

import numpy as np
import pytest
import torch
from torch import nn

from pan_mm.apis import PANInferencer
from pan_mm.deploy.export.exporter import difference, export
from pan_mm.deploy.streaming.recognizer import StreamRecognizer
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


def test_a_stream_ends_as_the_clip(made):
    model = load_recognizer(*made, 'cpu')
    frames = np.random.default_rng(0).integers(0, 256, (32, 72, 72, 3), dtype=np.uint8)
    recognizer = StreamRecognizer(model, stride=8)
    predictions = [p for i, frame in enumerate(frames) if (p := recognizer.push(frame, i / 25))]
    starts = [8 * i + 4 for i in range(4)]
    clip = np.concatenate([frames[start : start + 4] for start in starts])
    clip = torch.from_numpy(clip[:, 4:68, 4:68]).permute(0, 3, 1, 2).contiguous()
    data = model.data_preprocessor(dict(inputs=[clip], data_samples=[]))
    with torch.no_grad():
        expected = model(data['inputs'], mode='tensor', stage='head')[0].softmax(0)
    np.testing.assert_allclose(predictions[-1].scores, expected.numpy(), rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_exported_predicts_the_same(made, videos, tmp_path, monkeypatch):
    """Before it is quantized, which export compares first, and after."""
    pytest.importorskip('onnxruntime')
    config, checkpoint = made
    clips = [videos / f'{i}.mp4' for i in range(4)]
    errors = []

    def noted(*args):
        errors.append(difference(*args))
        return errors[-1]

    monkeypatch.setattr('pan_mm.deploy.export.exporter.difference', noted)
    export(config, checkpoint, tmp_path / 'pan.onnx', videos=clips, int8=True)
    plain, quantized = errors
    assert plain < 1e-3 < quantized < 0.3


def test_complexity(kind, made):
    config, _ = made
    *parts, whole = get_complexity(load_recognizer(config, device='cpu'), (16, 3, 64, 64))
    network = next(part for part in parts if part.name == 'backbone.backbone')
    assert whole.params > network.params > 0.9 * whole.params
    # 224 x 224 costs 0.385 and 0.20 G with three channels; 64 x 64 a twelfth.
    expected = {'pan_mm.EfficientNetLite0': 0.385e9, 'timm.regnetx_002': 0.203e9}[kind]
    assert network.macs == pytest.approx(4 * expected * (64 / 224) ** 2, rel=0.08)
