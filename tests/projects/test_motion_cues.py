import pytest
import torch
from mmengine.optim import build_optim_wrapper

from builders import stands_where_pa_stands
from pan_mm.models import FrameDifference, PANBackbone
from projects.motion_cues import MotionCues, SignedPersistence

PA = dict(type='PersistenceOfAppearance', init_std=0.1)
R18 = dict(type='mmaction.ResNetTSM', depth=18)


@pytest.fixture
def frames():
    """Two segments of four frames."""
    return torch.randn(2, 4, 3, 8, 10)


class TestMotionCues:
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

    @pytest.mark.parametrize('compression', ['sqrt', 'log'])
    def test_still_clips_have_finite_gradients(self, compression):
        cues = MotionCues([PA, dict(type='FrameDifference')], compression, norm_scale=1.0)
        frames = torch.rand(1, 1, 3, 8, 8).expand(2, 4, 3, 8, 8).clone().requires_grad_()
        cues(frames).square().sum().backward()
        assert frames.grad.isfinite().all()
        assert all(parameter.grad.isfinite().all() for parameter in cues.parameters())


class TestSignedPersistence:
    def test_size_of_pa_and_sign_of_the_mean_difference(self, frames):
        cue = SignedPersistence(num_filters=3, kernel_size=3, init_std=0, init_delta=1.0)
        differences = frames[:, 1:] - frames[:, :-1]  # of the channels, which the filters keep
        wanted = differences.norm(dim=2) * differences.mean(dim=2).sign()
        torch.testing.assert_close(cue(frames), wanted)

    def test_played_backwards_the_sign_is_the_other(self, frames):
        cue = SignedPersistence(init_std=0.1)
        torch.testing.assert_close(cue(frames.flip(1)), -cue(frames).flip(1))

    def test_still_clips_have_no_motion(self):
        still = torch.rand(2, 1, 3, 8, 8).expand(2, 4, 3, 8, 8)
        assert SignedPersistence(init_std=0.1)(still).abs().max() < 1e-5


@pytest.mark.parametrize(
    ('cue', 'maps'),
    [
        (dict(type='SignedPersistence', init_std=0.1), 1),
        (dict(type='FrameStack'), 3),
        (dict(type='MotionCues', cues=[PA, dict(type='FrameStack')], norm_scale=1.0), 4),
    ],
)
def test_stands_where_pa_stands(cue, maps):
    stands_where_pa_stands(cue, maps)


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
