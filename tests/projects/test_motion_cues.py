import pytest
import torch
from mmengine.optim import build_optim_wrapper

from builders import refuses_what_is_no_clip, stands_where_pa_stands
from pan_mm.models import FrameDifference, PANBackbone
from projects.motion_cues import FrameStack, MotionCues

PA = dict(type='PersistenceOfAppearance', init_std=0.1)
R18 = dict(type='mmaction.ResNetTSM', depth=18)


@pytest.fixture
def frames():
    """Two segments of four frames."""
    return torch.randn(2, 4, 3, 8, 10)


def test_a_stack_behind_the_first_frame_is_all_frames(frames):
    backbone = PANBackbone(dict(R18), motion_cue=dict(type='FrameStack'), num_segments=2)
    seen = []
    backbone.backbone.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    backbone(frames.flatten(0, 1))
    torch.testing.assert_close(seen[0], frames.flatten(1, 2))


class TestMotionCues:
    def test_one_cue_alone_is_that_cue(self, frames):
        cues = MotionCues([PA])
        torch.testing.assert_close(cues(frames), cues.cues[0](frames))

    def test_maps_lie_pair_after_pair(self, frames):
        """So a pair of frames gives the same maps in a clip as by itself, as in a stream."""
        cues = MotionCues(
            [PA, dict(type='FrameDifference', gray=False), dict(PA, kernel_size=3)], 'log', 2.0
        )
        cues(frames)  # moves the norm's statistics away from where they start
        cues.eval()
        maps = cues(frames)
        assert maps.shape == (2, 3 * 5, 8, 10)
        pairs = [cues(frames[:, pair : pair + 2]) for pair in range(3)]
        torch.testing.assert_close(maps, torch.cat(pairs, dim=1))

    @pytest.mark.parametrize(
        ('compression', 'function'), [('sqrt', torch.sqrt), ('log', torch.log1p)]
    )
    def test_compression_keeps_signs(self, frames, compression, function):
        signed = dict(type='FrameDifference', absolute=False)
        maps = FrameDifference(absolute=False)(frames)
        wanted = maps.sign() * function(maps.abs())
        torch.testing.assert_close(
            MotionCues([signed], compression)(frames), wanted, atol=0.02, rtol=0
        )

    def test_norm_brings_maps_to_its_scale(self, frames):
        maps = MotionCues([dict(PA, init_std=0.001), PA], norm_scale=0.5)(frames)
        for kind in maps.unflatten(1, (3, 2)).unbind(2):
            assert kind.mean().abs() < 1e-3
            assert kind.std().item() == pytest.approx(0.5, rel=0.1)

    @pytest.mark.parametrize('compression', [None, 'sqrt', 'log'])
    @pytest.mark.parametrize('norm_scale', [None, 1.0])
    def test_still_clips_have_finite_gradients(self, compression, norm_scale):
        cues = MotionCues([PA, dict(type='FrameDifference')], compression, norm_scale)
        frames = torch.rand(1, 1, 3, 8, 8).expand(2, 4, 3, 8, 8).clone().requires_grad_()
        cues(frames).square().sum().backward()
        assert frames.grad.isfinite().all()
        assert all(parameter.grad.isfinite().all() for parameter in cues.parameters())


@pytest.mark.parametrize(
    ('cue', 'maps'),
    [
        (dict(type='FrameStack'), 3),
        (dict(type='MotionCues', cues=[PA, dict(type='FrameStack')], norm_scale=1.0), 4),
    ],
)
@pytest.mark.parametrize('stream', ['pa', 'lite'])
def test_stands_where_pa_stands(cue, maps, stream):
    stands_where_pa_stands(cue, maps, stream)


def test_pa_among_other_cues_keeps_its_multipliers():
    cues = dict(type='MotionCues', cues=[PA, dict(type='FrameDifference')], norm_scale=1.0)
    backbone = PANBackbone(dict(R18), motion_cue=cues)
    recipe = dict(
        constructor='PANOptimWrapperConstructor',
        optimizer=dict(type='SGD', lr=0.01, weight_decay=1e-4),
        paramwise_cfg=dict(custom_keys={'persistence.cues': dict(lr_mult=2)}),
    )
    groups = build_optim_wrapper(backbone, recipe).optimizer.param_groups
    found = {id(param): group for group in groups for param in group['params']}
    for name, lr, decay in (('cues.0.conv', 10, 1), ('norm', 1, 0)):
        group = found[id(backbone.get_parameter(f'persistence.{name}.weight'))]
        assert group['lr'] == pytest.approx(0.01 * lr)
        assert group['weight_decay'] == pytest.approx(1e-4 * decay)


class TestErrors:
    def test_frames_that_do_not_fit(self):
        refuses_what_is_no_clip(FrameStack())

    def test_no_cue(self):
        with pytest.raises(ValueError, match='at least one cue'):
            MotionCues([])

    def test_unknown_compression(self):
        with pytest.raises(ValueError, match="one of sqrt, log, or None, got 'cube'"):
            MotionCues([PA], compression='cube')
