import copy
import pickle

import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.runner import load_checkpoint
from torch import nn

from pan_mm.models import PANBackbone
from pan_mm.models.streams import streams_of
from pan_mm.models.weight_layouts import torchvision_name

R18 = dict(type='mmaction.ResNetTSM', depth=18)


def build(stream='lite', backbone=None, **kwargs):
    return PANBackbone(dict(backbone or R18), stream=stream, **kwargs)


def stem(backbone):
    return backbone.backbone.get_submodule(backbone.stem_name).weight


def imagenet_file(tmp_path, layout):
    """A ResNet-18 checkpoint as torchvision or MMAction2 would write it, and its stem."""
    donor = MODELS.build(dict(type='mmaction.ResNet', depth=18))
    state = {name: torch.randn_like(value.float()) for name, value in donor.state_dict().items()}
    rgb = state['conv1.conv.weight']
    if layout == 'torchvision':
        state = {torchvision_name(name): value for name, value in state.items()}
        state.update({'fc.weight': torch.rand(1000, 512), 'fc.bias': torch.rand(1000)})
    elif layout == 'recognizer':
        state = dict(state_dict={f'backbone.{name}': value for name, value in state.items()})
    path = str(tmp_path / f'{layout}.pth')
    torch.save(state, path)
    return path, rgb


class TestForward:
    @pytest.mark.parametrize(
        'inner',
        [
            dict(type='mmaction.ResNet', depth=18),
            R18,
            dict(type='mmaction.TANet', depth=50),
            dict(type='mmaction.MobileNetV2TSM'),
        ],
        ids=lambda cfg: cfg['type'],
    )
    @pytest.mark.parametrize('stream', ['rgb', 'pa', 'lite'])
    def test_any_2d_backbone(self, inner, stream):
        backbone = build(stream, inner, num_segments=4).eval()
        with torch.no_grad():
            features = backbone(torch.randn(4 * 4, 3, 33, 47))
        assert features.shape[0] == 4
        assert features.isfinite().all()

    @pytest.mark.parametrize('clip_len', [2, 3, 5])
    @pytest.mark.parametrize('stream', ['pa', 'lite'])
    def test_other_lengths_of_a_segment(self, stream, clip_len):
        backbone = build(stream, clip_len=clip_len, num_segments=2).eval()
        assert stem(backbone).shape[1] == clip_len - 1 + 3 * (stream == 'lite')
        assert backbone(torch.randn(2 * clip_len, 3, 32, 32)).shape == (2, 512, 1, 1)

    def test_rgb_sees_the_first_frame_alone(self):
        backbone = build('rgb').eval()
        x = torch.randn(8, 4, 3, 32, 32)
        changed = x.clone()
        changed[:, 1:] += 1
        torch.testing.assert_close(backbone(x.flatten(0, 1)), backbone(changed.flatten(0, 1)))

    def test_pa_ignores_what_does_not_move(self):
        backbone = build('pa', motion_cue=dict(type='PersistenceOfAppearance', init_std=0.1))
        backbone.eval()
        x = torch.randn(8, 4, 3, 32, 32)
        offset = torch.randn(8, 1, 3, 32, 32)
        torch.testing.assert_close(
            backbone(x.flatten(0, 1)), backbone((x + offset).flatten(0, 1)), rtol=1e-3, atol=1e-4
        )


class TestPretrained:
    """ImageNet weights reach the first convolution as the mean over RGB, repeated."""

    @pytest.mark.parametrize('layout', ['torchvision', 'mmaction'])
    @pytest.mark.parametrize('way', ['pretrained', 'init_cfg'])
    @pytest.mark.parametrize('inner', ['ResNet', 'ResNetTSM'])
    def test_given_to_the_inner_backbone(self, tmp_path, layout, way, inner):
        path, rgb = imagenet_file(tmp_path, layout)
        cfg = dict(type=f'mmaction.{inner}', depth=18)
        cfg[way] = path if way == 'pretrained' else dict(type='Pretrained', checkpoint=path)
        backbone = build('lite', cfg)
        backbone.init_weights()
        torch.testing.assert_close(
            stem(backbone), rgb.mean(1, keepdim=True).expand(64, 6, 7, 7).contiguous()
        )
        self.assert_deep_layers_loaded(backbone, path)

    @pytest.mark.parametrize('layout', ['torchvision', 'mmaction', 'recognizer'])
    def test_load_from(self, tmp_path, layout):
        path, rgb = imagenet_file(tmp_path, layout)
        model = MODELS.build(
            dict(
                type='mmaction.Recognizer2D',
                backbone=dict(type='PANBackbone', backbone=R18),
                cls_head=dict(type='VAPHead', num_classes=5, in_channels=512),
            )
        )
        # A plain ImageNet file has no `backbone.`: it is loaded into the backbone.
        load_checkpoint(model if layout == 'recognizer' else model.backbone, path)
        torch.testing.assert_close(stem(model.backbone)[:, 5], rgb.mean(1))
        self.assert_deep_layers_loaded(model.backbone, path)

    def test_tanet_loads_in_its_constructor(self, tmp_path):
        donor = MODELS.build(dict(type='mmaction.ResNet', depth=50))
        state = {torchvision_name(name): value for name, value in donor.state_dict().items()}
        torch.save(state, tmp_path / 'r50.pth')
        backbone = build(
            'lite', dict(type='mmaction.TANet', depth=50, pretrained=str(tmp_path / 'r50.pth'))
        )
        backbone.init_weights()
        torch.testing.assert_close(stem(backbone)[:, 0], state['conv1.weight'].mean(1))
        torch.testing.assert_close(
            backbone.backbone.layer3[0].block.conv2.conv.weight, state['layer3.0.conv2.weight']
        )

    def test_three_channels_keep_the_rgb_weights(self, tmp_path):
        path, rgb = imagenet_file(tmp_path, 'torchvision')
        backbone = build('pa', dict(R18, pretrained=path))
        backbone.init_weights()
        torch.testing.assert_close(stem(backbone), rgb)

    @torch.no_grad()
    def test_zero_motion_begins_as_the_rgb_network(self, tmp_path):
        path, rgb = imagenet_file(tmp_path, 'torchvision')
        models = {}
        for stream, inflation in (('rgb', 'mean'), ('lite', 'zero-motion')):
            cfg = dict(R18, pretrained=path)
            models[stream] = build(stream, cfg, inflation=inflation, clip_len=3, num_segments=2)
            models[stream].init_weights()
        assert stem(models['lite'])[:, :3].equal(rgb)
        assert not stem(models['lite'])[:, 3:].any()
        frames = torch.randn(6, 3, 32, 32)
        for model in models.values():
            model.train()  # random weights: running statistics would blow it up
        torch.testing.assert_close(models['lite'](frames), models['rgb'](frames))

    def test_keep_rgb_keeps_filters_and_size(self, tmp_path):
        path, rgb = imagenet_file(tmp_path, 'torchvision')
        backbone = build('lite', dict(R18, pretrained=path), inflation='keep-rgb')
        backbone.init_weights()
        weight = stem(backbone)
        torch.testing.assert_close(weight[:, :3], rgb / 2)  # 3 of m + 2 = 6 channels
        torch.testing.assert_close(weight[:, 3:], rgb.mean(1, keepdim=True).expand(-1, 3, 7, 7) / 2)
        gray = torch.randn(1, 1, 9, 9)
        convolve = nn.functional.conv2d
        torch.testing.assert_close(
            convolve(gray.expand(-1, 6, -1, -1), weight),
            convolve(gray.expand(-1, 3, -1, -1), rgb),
            rtol=1e-4,
            atol=1e-4,
        )

    @pytest.mark.parametrize('inflation', ['keep-rgb', 'zero-motion'])
    def test_the_pa_stream_has_no_rgb_to_keep(self, tmp_path, inflation):
        path, rgb = imagenet_file(tmp_path, 'torchvision')
        backbone = build('pa', dict(R18, pretrained=path), inflation=inflation, clip_len=5)
        backbone.init_weights()
        assert stem(backbone).equal(rgb.mean(1, keepdim=True).repeat(1, 4, 1, 1))

    def test_zero_motion_learns_to_see_motion(self, tmp_path):
        path, _ = imagenet_file(tmp_path, 'torchvision')
        persistence = dict(type='PersistenceOfAppearance', init_std=0.1)
        backbone = build(
            'lite', dict(R18, pretrained=path), inflation='zero-motion', motion_cue=persistence
        )
        backbone.init_weights()
        optimizer = torch.optim.SGD(backbone.parameters(), lr=0.01)
        for filters_move in (False, True):  # behind zeros first, then behind what they became
            optimizer.zero_grad()
            backbone(torch.randn(32, 3, 32, 32)).square().mean().backward()
            assert stem(backbone).grad[:, 3:].abs().sum() > 0
            assert bool(backbone.persistence.conv.weight.grad.any()) is filters_move
            optimizer.step()

    def test_from_scratch_the_channels_differ(self):
        backbone = build('lite')
        backbone.init_weights()
        assert not torch.equal(stem(backbone)[:, 0], stem(backbone)[:, 1])

    @staticmethod
    def assert_deep_layers_loaded(backbone, path):
        state = torch.load(path, weights_only=True)
        state = state.get('state_dict', state)
        theirs = next(
            value
            for name, value in state.items()
            if torchvision_name(name).endswith('layer4.1.conv2.weight')
        )
        torch.testing.assert_close(backbone.backbone.layer4[1].conv2.conv.weight, theirs)


def test_pickled_and_copied_it_still_loads_other_layouts(tmp_path):
    path, rgb = imagenet_file(tmp_path, 'torchvision')
    backbone = build('pa', dict(R18, pretrained=path), clip_len=3)
    for twin in (pickle.loads(pickle.dumps(backbone)), copy.deepcopy(backbone)):
        twin.init_weights()
        assert stem(twin).equal(rgb.mean(1, keepdim=True).expand(-1, 2, -1, -1))
    assert not stem(backbone).equal(stem(twin))


def test_former_name_of_the_motion_cue():
    cue = dict(type='PersistenceOfAppearance', num_filters=3)
    own, former = build('pa', motion_cue=cue), build('pa', persistence=cue)
    former.load_state_dict(own.state_dict())
    assert former.persistence.conv.weight.shape == (3, 3, 7, 7)
    with pytest.raises(ValueError, match='former name of motion_cue; give one'):
        build('pa', motion_cue=cue, persistence=cue)


class TestErrors:
    def test_unknown_stream(self):
        with pytest.raises(ValueError, match="one of rgb, pa, lite, got 'flow'"):
            build('flow')

    def test_stream_that_moved(self):
        with pytest.raises(ValueError, match='see projects/pa_attention'):
            build('attention')

    def test_unknown_inflation(self):
        with pytest.raises(ValueError, match="one of mean, keep-rgb, zero-motion, got 'double'"):
            build('lite', inflation='double')

    def test_pa_needs_two_frames(self):
        with pytest.raises(ValueError, match='clip_len >= 2'):
            build('pa', clip_len=1)

    def test_frames_that_are_no_segments(self):
        with pytest.raises(ValueError, match='30 frames are not a multiple of clip_len=4'):
            build()(torch.rand(30, 3, 32, 32))

    def test_two_numbers_of_segments(self):
        with pytest.raises(ValueError, match='num_segments=16, PANBackbone 8'):
            build('lite', dict(R18, num_segments=16))

    @pytest.mark.parametrize(
        ('source', 'target'),
        [('rgb', 'pa'), ('pa', 'rgb'), ('rgb', 'lite')],
    )
    def test_checkpoint_of_another_stream(self, source, target):
        with pytest.raises(ValueError, match=f'another PAN stream.*{target}'):
            build(target).load_state_dict(build(source).state_dict())

    @pytest.mark.parametrize('way', ['pretrained', 'init_cfg'])
    def test_a_recognizer_in_place_of_a_backbone(self, tmp_path, way):
        state = MODELS.build(dict(type='mmaction.ResNetTSM', depth=18)).state_dict()
        state = {f'backbone.{name}': value for name, value in state.items()}
        state['cls_head.fc_cls.bias'] = torch.zeros(5)
        path = str(tmp_path / 'tsm.pth')
        torch.save(dict(state_dict=state), path)
        if way == 'pretrained':
            backbone = build(backbone=dict(R18, pretrained=path))
        else:
            backbone = build(init_cfg=dict(type='Pretrained', checkpoint=path))
        with pytest.raises(ValueError, match='as load_from, or in init_cfg with prefix'):
            backbone.init_weights()

    @pytest.mark.parametrize('stream', ['pa', 'lite'])
    def test_a_cue_without_parameters_is_tested_after_it_was_trained(self, stream):
        class Difference(nn.Module):
            def forward(self, frames):
                return (frames[:, :-1] - frames[:, 1:]).mean(dim=2).abs()

        trained, tested = (build(stream, motion_cue=dict(type=Difference)) for _ in range(2))
        tested.load_state_dict(trained.state_dict())
        assert stem(tested).equal(stem(trained))
        with pytest.raises(ValueError, match='without PA filters, but stream.*with PA filters'):
            build(stream).load_state_dict(trained.state_dict())

    def test_several_convolutions_of_the_frames(self):
        class TwoBranches(nn.Sequential):
            def __init__(self):
                branches = nn.ModuleDict({str(k): nn.Conv2d(3, 8, k) for k in (1, 3)})
                super().__init__(nn.Sequential(branches), nn.Conv2d(8, 3, 1))

        with pytest.raises(ValueError, match=r'2 convolutions \(0.0.1, 0.0.3\)'):
            build('lite', dict(type=TwoBranches))

    def test_a_backbone_without_a_convolution_of_frames(self):
        with pytest.raises(ValueError, match='does not begin with a convolution'):
            build('lite', dict(type='mmaction.ResNet', depth=18, in_channels=10))


def test_streams_of_any_recognizer():
    head = dict(type='VAPHead', num_classes=3, in_channels=512)
    pan = dict(type='PANBackbone', backbone=R18)
    single = MODELS.build(dict(type='mmaction.Recognizer2D', backbone=pan, cls_head=head))
    assert streams_of(single) == {'lite': single}
    streams = dict(rgb=dict(), other=dict(backbone=dict(stream='pa')))
    ensemble = MODELS.build(dict(type='PANEnsemble', streams=streams, backbone=pan, cls_head=head))
    assert streams_of(ensemble) == dict(ensemble.streams.items())
    assert [r.backbone.stream for r in streams_of(ensemble).values()] == ['rgb', 'pa']
    assert streams_of(MODELS.build(dict(type='mmaction.Recognizer2D', backbone=R18))) == {}


@pytest.mark.parametrize('stream', ['rgb', 'pa', 'lite'])
@pytest.mark.parametrize('autocast', [False, True])
def test_clips_without_information_are_finite(stream, autocast):
    """Black, white, one picture again and again, and noise at the ends of the scale."""
    clip_len = 1 if stream == 'rgb' else 4
    sizes = dict(num_segments=2, clip_len=clip_len)
    model = MODELS.build(
        dict(
            type='mmaction.Recognizer2D',
            backbone=dict(type='PANBackbone', backbone=R18, stream=stream, **sizes),
            cls_head=dict(type='VAPHead', num_classes=3, in_channels=512, num_segments=2),
            data_preprocessor=dict(
                type='mmaction.ActionDataPreprocessor', mean=[123.675] * 3, std=[58.395] * 3
            ),
        )
    )
    picture = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    frames = 2 * clip_len
    clips = [
        torch.zeros(frames, 3, 32, 32, dtype=torch.uint8),
        torch.full((frames, 3, 32, 32), 255, dtype=torch.uint8),
        picture.expand(frames, -1, -1, -1),
        255 * torch.randint(0, 2, (frames, 3, 32, 32), dtype=torch.uint8),
    ]
    samples = [ActionDataSample().set_gt_label(i % 3) for i in range(len(clips))]
    data = model.data_preprocessor(dict(inputs=clips, data_samples=samples), training=True)
    with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
        losses = model(**data, mode='loss')
    losses['loss_cls'].backward()
    assert losses['loss_cls'].isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
