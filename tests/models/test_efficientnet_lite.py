"""EfficientNet-Lite0 of our own computes what timm's does."""

import pytest
import torch

from pan_mm.models import PANBackbone
from pan_mm.models.backbone_2d import pixel_statistics

pytest.importorskip('timm')
KIND, TIMM = 'pan_mm.EfficientNetLite0', 'timm.tf_efficientnet_lite0'


def build(kind):
    torch.manual_seed(0)
    return PANBackbone(dict(type=kind), num_segments=2, clip_len=3)


def test_numbers_of_timm():
    theirs, own = build(TIMM), build(KIND)
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
