from dataclasses import replace

import decord
import numpy as np
import pytest

from pan_mm.datasets.motion_shapes.render import (
    CLASSES,
    PROPERTIES,
    draw,
    render_clip,
    sample_clip,
    states,
    write_video,
)

NAMES = list(CLASSES)


def _clip(label, seed=0, num_frames=36):
    return sample_clip(np.random.default_rng([seed, label]), label, size=64, num_frames=num_frames)


def _backwards(clip):
    """The same clip as a sample of the partner class, from its last frame to its first."""
    return replace(
        clip,
        label=clip.label ^ 1,
        phase=states(clip)[-1],
        offset=clip.offset + (clip.num_frames - 1) * clip.drift,
        drift=-clip.drift,
    )


def _psnr(a, b):
    return 10 * np.log10(255**2 / np.square(a.astype(float) - b).mean())


@pytest.mark.parametrize('label', range(12), ids=NAMES)
def test_one_property_sweeps_and_the_others_stand_still(label):
    clip = _clip(label)
    prop, direction = CLASSES[NAMES[label]]
    turns = np.unwrap(2 * np.pi * states(clip), axis=0) / (2 * np.pi)
    speed = np.diff(turns, axis=0)
    own = np.arange(6) == PROPERTIES.index(prop)
    np.testing.assert_allclose(speed[:, own], direction * clip.step, atol=1e-9)
    np.testing.assert_array_equal(speed[:, ~own], 0)
    assert 0.8 < clip.step * 36 < 2.4


def test_every_property_is_uniform_at_any_time_in_every_class():
    clips = [_clip(label, seed) for seed in range(25) for label in range(12)]
    labels = np.array([clip.label for clip in clips])
    for t in (0, 17, 35):
        state = np.array([states(clip)[t] for clip in clips])
        expected = (np.arange(len(state))[:, None] + 0.5) / len(state)
        distance = np.abs(np.sort(state, axis=0) - expected).max()
        assert distance < 1.95 / np.sqrt(len(state))  # Kolmogorov-Smirnov, p = 0.001
        # The mean of each class stays within 4 standard errors of one half.
        means = np.array([state[labels == label].mean(0) for label in range(12)])
        assert np.abs(means - 0.5).max() < 4 * np.sqrt(1 / 12 / 25)


@pytest.mark.parametrize('label', range(12), ids=NAMES)
def test_a_clip_played_backwards_is_a_clip_of_the_partner_class(label):
    clip = _clip(label)
    forward = np.stack(list(draw(clip)))
    backward = np.stack(list(draw(_backwards(clip))))
    # Resampling rounds positions to 1/32 pixel, and a rounding may fall to either side.
    assert np.abs(forward - backward[::-1]).mean() < 0.02
    assert np.abs(forward - backward).mean() > 0.5


def _measure(name, phase):
    """Centroid (x, y), area, angle, spread and contrast of the shapes, 4 frames apart."""
    label = NAMES.index(name)
    clip = replace(
        _clip(label, num_frames=5),
        phase=np.array(phase),
        step=0.04,
        drift=np.zeros(2),
        background=np.full((64, 64, 3), 128, np.float32),
    )
    result = []
    for frame in list(draw(clip))[::4]:
        strength = np.abs(frame - 128).sum(0)
        mask = strength > 20
        y, x = np.nonzero(mask)
        axis = np.linalg.svd(np.stack([x - x.mean(), y - y.mean()]))[0][:, 0]
        spread = np.hypot(x - x.mean(), y - y.mean()).mean()
        angle = np.arctan2(axis[1], axis[0]) % np.pi
        result.append([x.mean(), y.mean(), mask.sum(), angle, spread, strength[mask].mean()])
    return np.array(result)


@pytest.mark.parametrize(
    ('name', 'column', 'sign'),
    [
        ('move_left', 0, -1),
        ('move_right', 0, 1),
        ('move_up', 1, -1),
        ('move_down', 1, 1),
        ('shrink', 2, -1),
        ('grow', 2, 1),
        ('rotate_counterclockwise', 3, -1),  # y points down
        ('rotate_clockwise', 3, 1),
        ('approach', 4, -1),
        ('part', 4, 1),
        ('vanish', 5, -1),
        ('appear', 5, 1),
    ],
)
def test_the_picture_does_what_the_class_name_says(name, column, sign):
    # In the middle of the frame, apart, leaning: nothing wraps around.
    before, after = _measure(name, [0.5, 0.5, 0.3, 0.2, 0.6, 0.5])
    change = after - before
    assert np.sign(change[column]) == sign
    if column < 2:  # 4 frames at 0.04 cycles of 64 pixels
        assert change[column] == pytest.approx(sign * 4 * 0.04 * 64, abs=0.5)
    if column == 3:
        assert change[column] == pytest.approx(sign * 4 * 0.04 * 2 * np.pi, abs=0.3)


def test_video_is_decoded_as_it_was_drawn(tmp_path):
    frames = render_clip(np.random.default_rng(0), 1, 64, 36)
    write_video(str(tmp_path / 'clip.mp4'), frames)
    reader = decord.VideoReader(str(tmp_path / 'clip.mp4'))
    assert len(reader) == 36
    decoded = reader.get_batch(range(36)).asnumpy()
    assert min(_psnr(a, b) for a, b in zip(decoded, frames)) > 30


def test_a_coded_frame_carries_no_trace_of_its_neighbors(tmp_path):
    frames = render_clip(np.random.default_rng(0), 1, 64, 36)
    order = np.random.default_rng(1).permutation(36)
    decoded = []
    for name, sequence in (('a.mp4', frames), ('b.mp4', frames[order])):
        write_video(str(tmp_path / name), sequence)
        reader = decord.VideoReader(str(tmp_path / name))
        assert len(reader.get_key_indices()) == 36
        decoded.append(reader.get_batch(range(36)).asnumpy())
    np.testing.assert_array_equal(decoded[0][order], decoded[1])
