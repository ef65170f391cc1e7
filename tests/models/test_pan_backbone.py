import copy
import pickle

import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.runner import load_checkpoint
from torch import nn

from pan_mm.convert import model_config
from pan_mm.models import PANBackbone
from pan_mm.models.weight_layouts import torchvision_name

R18 = dict(type='mmaction.ResNetTSM', depth=18)


def build(stream='lite', backbone=None, **kwargs):
    return PANBackbone(dict(backbone or R18), stream=stream, **kwargs)


def stem(backbone):
    return backbone.backbone.get_submodule(backbone.stem_name).weight


def imagenet_file(tmp_path, layout='torchvision'):
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
    def test_any_2d_backbone(self, inner):
        with torch.no_grad():
            features = build('lite', inner, num_segments=4).eval()(torch.randn(4 * 4, 3, 33, 47))
        assert features.shape[0] == 4 and features.isfinite().all()

    @pytest.mark.parametrize(
        ('stream', 'clip_len', 'channels'),
        [('rgb', 1, 3), ('pa', 2, 1), ('lite', 2, 4), ('pa', 5, 4), ('lite', 5, 7)],
    )
    def test_lengths_of_a_segment(self, stream, clip_len, channels):
        backbone = build(stream, clip_len=clip_len, num_segments=2).eval()
        assert stem(backbone).shape[1] == channels
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
        moved = x + torch.randn(8, 1, 3, 32, 32)
        torch.testing.assert_close(
            backbone(x.flatten(0, 1)), backbone(moved.flatten(0, 1)), rtol=1e-3, atol=1e-4
        )


class TestPretrained:
    """ImageNet weights reach the first convolution as the mean over RGB, repeated."""

    @pytest.mark.parametrize('layout', ['torchvision', 'mmaction'])
    @pytest.mark.parametrize('way', ['pretrained', 'init_cfg'])
    def test_given_to_the_inner_backbone(self, tmp_path, layout, way):
        path, rgb = imagenet_file(tmp_path, layout)
        given = path if way == 'pretrained' else dict(type='Pretrained', checkpoint=path)
        backbone = build('lite', dict(R18, **{way: given}))
        backbone.init_weights()
        mean = rgb.mean(1, keepdim=True)
        torch.testing.assert_close(stem(backbone), mean.repeat(1, 6, 1, 1))
        self.assert_deep_layers_loaded(backbone, path)

    @pytest.mark.parametrize('layout', ['torchvision', 'mmaction', 'recognizer'])
    def test_load_from(self, tmp_path, layout):
        path, rgb = imagenet_file(tmp_path, layout)
        model = MODELS.build(model_config('lite', 18, num_segments=8, num_classes=5))
        # A plain ImageNet file has no `backbone.`: it is loaded into the backbone.
        load_checkpoint(model if layout == 'recognizer' else model.backbone, path)
        torch.testing.assert_close(stem(model.backbone)[:, 5], rgb.mean(1))
        self.assert_deep_layers_loaded(model.backbone, path)

    @torch.no_grad()
    def test_zero_motion_begins_as_the_rgb_network(self, tmp_path):
        path, rgb = imagenet_file(tmp_path)
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
        path, rgb = imagenet_file(tmp_path)
        backbone = build('lite', dict(R18, pretrained=path), inflation='keep-rgb')
        backbone.init_weights()
        weight = stem(backbone)
        torch.testing.assert_close(weight[:, :3], rgb / 2)  # 3 of m + 2 = 6 channels
        torch.testing.assert_close(weight[:, 3:], rgb.mean(1, keepdim=True).expand(-1, 3, 7, 7) / 2)

    @pytest.mark.parametrize('clip_len', [4, 5])
    def test_the_pa_stream_has_no_rgb_to_keep(self, tmp_path, clip_len):
        path, rgb = imagenet_file(tmp_path)
        backbone = build('pa', dict(R18, pretrained=path), inflation='keep-rgb', clip_len=clip_len)
        backbone.init_weights()
        mean = rgb.mean(1, keepdim=True)
        assert stem(backbone).equal(rgb if clip_len == 4 else mean.repeat(1, 4, 1, 1))

    def test_pickled_and_copied_it_still_loads_other_layouts(self, tmp_path):
        path, rgb = imagenet_file(tmp_path)
        backbone = build('pa', dict(R18, pretrained=path), clip_len=3)
        for twin in (pickle.loads(pickle.dumps(backbone)), copy.deepcopy(backbone)):
            twin.init_weights()
            assert stem(twin).equal(rgb.mean(1, keepdim=True).expand(-1, 2, -1, -1))

    @staticmethod
    def assert_deep_layers_loaded(backbone, path):
        state = torch.load(path, weights_only=True)
        state = {torchvision_name(k): v for k, v in state.get('state_dict', state).items()}
        (name,) = (name for name in state if name.endswith('layer4.1.conv2.weight'))
        torch.testing.assert_close(backbone.backbone.layer4[1].conv2.conv.weight, state[name])


def test_former_name_of_the_motion_cue():
    cue = dict(type='PersistenceOfAppearance', num_filters=3)
    assert build('pa', persistence=cue).persistence.conv.weight.shape == (3, 3, 7, 7)
    with pytest.raises(ValueError, match='former name of motion_cue; give one'):
        build('pa', motion_cue=cue, persistence=cue)


class TestErrors:
    @pytest.mark.parametrize(
        ('options', 'message'),
        [
            (dict(stream='flow'), "one of rgb, pa, lite, got 'flow'"),
            (dict(stream='attention'), 'see projects/pa_attention'),
            (dict(inflation='double'), "one of mean, keep-rgb, zero-motion, got 'double'"),
            (dict(stream='pa', clip_len=1), 'clip_len >= 2'),
            (dict(backbone=dict(R18, num_segments=16)), 'num_segments=16, PANBackbone 8'),
            (
                dict(backbone=dict(type='mmaction.ResNet', depth=18, in_channels=10)),
                'does not begin with a convolution',
            ),
        ],
    )
    def test_arguments(self, options, message):
        with pytest.raises(ValueError, match=message):
            build(**options)

    def test_frames_that_are_no_segments(self):
        with pytest.raises(ValueError, match='30 frames are not a multiple of clip_len=4'):
            build()(torch.rand(30, 3, 32, 32))

    @pytest.mark.parametrize(
        ('source', 'target'), [('rgb', 'pa'), ('pa', 'rgb'), ('rgb', 'lite'), ('pa', 'lite')]
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

    def test_a_cue_without_parameters_is_tested_after_it_was_trained(self):
        class Difference(nn.Module):
            def forward(self, frames):
                return (frames[:, :-1] - frames[:, 1:]).mean(dim=2).abs()

        trained, tested = (build('pa', motion_cue=dict(type=Difference)) for _ in range(2))
        tested.load_state_dict(trained.state_dict())
        assert stem(tested).equal(stem(trained))
        with pytest.raises(ValueError, match='without PA filters, but stream.*with PA filters'):
            build('pa').load_state_dict(trained.state_dict())


@pytest.mark.parametrize('autocast', [False, True])
def test_clips_without_information_are_finite(autocast):
    """Black, white, one picture again and again, and noise at the ends of the scale."""
    model = MODELS.build(model_config('lite', 18, num_segments=2, num_classes=3))
    picture = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    clips = [
        torch.zeros(8, 3, 32, 32, dtype=torch.uint8),
        torch.full((8, 3, 32, 32), 255, dtype=torch.uint8),
        picture.expand(8, -1, -1, -1),
        255 * torch.randint(0, 2, (8, 3, 32, 32), dtype=torch.uint8),
    ]
    samples = [ActionDataSample().set_gt_label(i % 3) for i in range(len(clips))]
    data = model.data_preprocessor(dict(inputs=clips, data_samples=samples), training=True)
    with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
        losses = model(**data, mode='loss')
    losses['loss_cls'].backward()
    assert losses['loss_cls'].isfinite()
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(grad.isfinite().all() for grad in grads) and any(grad.any() for grad in grads)
