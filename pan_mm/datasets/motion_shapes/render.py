"""Clips whose class only their motion reveals: sampling, drawing and encoding.

Every clip shows the same furniture: a pair of two-toned shapes over a drifting texture. Six
properties of the pair each live on a circle of circumference 1 and start at an independent,
uniform phase. In a clip of class c one of them advances at constant speed and wraps around, the
other five stand still::

    state(t) = (phase + t * step * e_c) mod 1

A uniform phase plus any constant, modulo 1, is uniform again, so at each time t the state has
the same distribution in all classes: one frame holds no information on the class, and no
average of scores of single frames can have an expected cross-entropy below chance. The classes
come in pairs that differ by the sign of ``step``: a clip played backwards is a clip of its
partner class. Everything else (texture, colors, drift, noise) is drawn alike in all classes,
and frames are coded one by one, so that no frame carries traces of its neighbors.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

# Properties of the pair, in the order of the columns of `states`.
PROPERTIES = ('x', 'y', 'size', 'angle', 'distance', 'opacity')

# Class name -> (property that sweeps, direction); labels follow this order, so label ^ 1 is the
# time-reversed partner. y points down, hence a growing angle turns clockwise.
CLASSES = {
    'move_left': ('x', -1),
    'move_right': ('x', 1),
    'move_up': ('y', -1),
    'move_down': ('y', 1),
    'shrink': ('size', -1),
    'grow': ('size', 1),
    'rotate_counterclockwise': ('angle', -1),
    'rotate_clockwise': ('angle', 1),
    'approach': ('distance', -1),
    'part': ('distance', 1),
    'vanish': ('opacity', -1),
    'appear': ('opacity', 1),
}

# Cycles per clip. Positions and angles travel far in one cycle; the others move little and
# repeat more often, or their change from frame to frame would drown in the noise.
_CYCLES = {
    **dict.fromkeys(('x', 'y', 'angle'), (1.0, 1.6)),
    **dict.fromkeys(('size', 'distance', 'opacity'), (1.4, 2.2)),
}
_RADIUS = (0.13, 0.31)  # of a shape, in frame widths
_DISTANCE = (0.16, 0.50)  # between the two centers, in frame widths
_OPACITY = (0.25, 1.00)
_MAX_DRIFT = 0.02  # of the background, in frame widths per frame
_NOISE = 5.0  # amplitude of the uniform noise, gray levels
_SPRITE_RADIUS = 40  # pixels
_SPRITE_SIZE = 96  # pixels
_JPEG_QUALITY = 85
FPS = 12


@dataclass(frozen=True)
class Clip:
    """All that determines a clip but its noise."""

    label: int
    phase: np.ndarray  # (6,): state at the first frame, in [0, 1), as PROPERTIES
    step: float  # advance of the class's property per frame, in cycles, positive
    sprites: np.ndarray  # (2, 96, 96, 4), float32: the two shapes, premultiplied RGBA
    background: np.ndarray  # (H, W, 3), float32: RGB, 0 to 255; repeats at its edges
    offset: np.ndarray  # (x, y) of the first frame on the background, in pixels
    drift: np.ndarray  # (x, y), movement of that place per frame, in pixels
    num_frames: int


def sample_clip(rng: np.random.Generator, label: int, size: int, num_frames: int) -> Clip:
    """Draw a clip of class ``label``: ``num_frames`` frames of ``size`` x ``size`` pixels."""
    prop, _ = list(CLASSES.values())[label]
    heading, speed = rng.uniform(0, 2 * np.pi), rng.uniform(0, _MAX_DRIFT * size)
    return Clip(
        label=label,
        phase=rng.random(len(PROPERTIES)),
        step=rng.uniform(*_CYCLES[prop]) / num_frames,
        sprites=np.stack([_sample_sprite(rng), _sample_sprite(rng)]),
        background=_sample_background(rng, size),
        offset=rng.uniform(0, size, 2),
        drift=speed * np.array([np.cos(heading), np.sin(heading)]),
        num_frames=num_frames,
    )


def states(clip: Clip) -> np.ndarray:
    """State of the pair in each frame: (T, 6), each column on the circle [0, 1)."""
    prop, direction = list(CLASSES.values())[clip.label]
    state = np.tile(clip.phase, (clip.num_frames, 1))
    state[:, PROPERTIES.index(prop)] += direction * clip.step * np.arange(clip.num_frames)
    return state % 1


def draw(clip: Clip) -> Iterator[np.ndarray]:
    """Yield the frames without noise: RGB, (3, H, W), float32, 0 to 255."""
    size = clip.background.shape[0]
    tiles = np.tile(clip.background, (2, 2, 1))
    # Python floats keep float32 arrays float32; numpy's own scalars would not.
    for t, (x, y, scale, angle, distance, opacity) in enumerate(states(clip).tolist()):
        frame = _view(tiles, clip.offset + t * clip.drift, size)
        angle = 2 * np.pi * angle
        radius = size * _lerp(_RADIUS, scale)
        arm = size * _lerp(_DISTANCE, distance) / 2 * np.array([np.cos(angle), np.sin(angle)])
        center = size * np.array([x, y])
        for sprite, place in zip(clip.sprites, (center - arm, center + arm)):
            layer = _lerp(_OPACITY, opacity) * _place(sprite, place, radius, angle, size)
            frame = frame * (1 - layer[3]) + layer[:3]
        yield frame


def render_clip(rng: np.random.Generator, label: int, size: int, num_frames: int) -> np.ndarray:
    """Draw a clip of class ``label`` with its noise: RGB, (T, H, W, 3), uint8."""
    return render(sample_clip(rng, label, size, num_frames), rng)


def render(clip: Clip, rng: np.random.Generator) -> np.ndarray:
    """Draw a clip with its noise: RGB, (T, H, W, 3), uint8."""
    height, width, _ = clip.background.shape
    frames = np.empty((clip.num_frames, height, width, 3), np.uint8)
    for t, frame in enumerate(draw(clip)):
        noise = _NOISE * (2 * rng.random(frame.shape, dtype=np.float32) - 1)
        frames[t] = np.clip(np.rint(frame + noise), 0, 255).transpose(1, 2, 0)
    return frames


def write_video(path: str, frames: np.ndarray) -> None:
    """Write RGB uint8 frames (T, H, W, 3) to an mp4 file, each coded for itself as JPEG.

    Motion-compensated codecs leave traces of a frame's past in it, which would tell its class.
    """
    height, width = frames.shape[1:3]
    with _quiet_stderr():  # OpenCV warns that it stores JPEG under mp4's own tag
        writer = cv2.VideoWriter(
            path,
            cv2.CAP_FFMPEG,
            cv2.VideoWriter.fourcc(*'MJPG'),
            FPS,
            (width, height),
            [cv2.VIDEOWRITER_PROP_RAW_VIDEO, 1],
        )
    if not writer.isOpened():
        raise OSError(f'OpenCV cannot write {path}')
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    for frame in frames:
        _, packet = cv2.imencode('.jpg', frame[..., ::-1], quality)
        writer.set(cv2.VIDEOWRITER_PROP_KEY_FLAG, 1)
        writer.write(packet.reshape(1, -1))  # as one row: OpenCV 4 reads the length from its width
    writer.release()


def _lerp(bounds, u):
    return bounds[0] + (bounds[1] - bounds[0]) * u


def _view(tiles, shift, size):
    """Window into the background tiles at shift (x, y): (3, size, size)."""
    x, y = (shift % size).tolist()
    matrix = np.array([[1, 0, -x], [0, 1, -y]])
    return np.stack(cv2.split(cv2.warpAffine(tiles, matrix, (size, size))))


def _place(sprite, center, radius, angle, size):
    """Put a sprite on an empty frame whose edges are joined: (4, size, size)."""
    whole, part = np.divmod(center, 1)
    cos, sin = (radius / _SPRITE_RADIUS * np.array([np.cos(angle), np.sin(angle)])).tolist()
    # Rotate and zoom about the sprite's center, which lands in the center of the frame ...
    x, y = (part + size // 2).tolist()
    middle = (_SPRITE_SIZE - 1) / 2
    matrix = np.array([[cos, -sin, x - middle * (cos - sin)], [sin, cos, y - middle * (sin + cos)]])
    layer = cv2.split(cv2.warpAffine(sprite, matrix, (size, size)))
    # ... and roll it to its place, so that what leaves one edge enters at the other.
    return np.roll(layer, whole[::-1].astype(int) - size // 2, axis=(1, 2))


def _sample_sprite(rng):
    """An irregular shape, bright and dark either side of a line: premultiplied RGBA."""
    corners = rng.integers(5, 9)
    angles = 2 * np.pi * (np.arange(corners) + rng.uniform(-0.25, 0.25, corners)) / corners
    radii = _SPRITE_RADIUS * rng.uniform(0.8, 1.0, corners)
    # Longer on one side, so that no rotation short of a full circle maps the shape onto itself.
    radii *= 0.8 + 0.2 * np.cos(angles)
    outline = np.stack([np.cos(angles), np.sin(angles)], 1) * radii[:, None] + _SPRITE_SIZE / 2
    mask = np.zeros((_SPRITE_SIZE, _SPRITE_SIZE), np.uint8)
    cv2.fillPoly(mask, [np.rint(outline).astype(np.int32)], 255)

    bright, dark = rng.uniform(170, 255, 3), rng.uniform(0, 80, 3)
    heading, along = rng.uniform(0, 2 * np.pi), rng.uniform(-8, 8)
    y, x = np.mgrid[:_SPRITE_SIZE, :_SPRITE_SIZE] - _SPRITE_SIZE / 2
    side = (x * np.cos(heading) + y * np.sin(heading) > along)[..., None]
    color = np.where(side, bright, dark)
    alpha = (mask / 255.0)[..., None]
    sprite = np.concatenate([color * alpha, alpha], -1).astype(np.float32)
    # Sprites are drawn up to 6 times smaller: blur to avoid aliasing.
    return cv2.GaussianBlur(sprite, (0, 0), 1.5)


def _sample_background(rng, size):
    """A random texture without seams: smooth noise around a random color."""
    noise = np.fft.rfft2(rng.standard_normal((3, size, size)))
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)) * size
    noise = np.fft.irfft2(noise * np.exp(-((frequency / 6) ** 2)), (size, size))
    noise = 0.6 * noise.mean(0, keepdims=True) * np.sqrt(3) + 0.4 * noise
    noise *= rng.uniform(10, 24) / noise.std()
    texture = rng.uniform(85, 170, 3)[:, None, None] + noise
    return np.ascontiguousarray(texture.transpose(1, 2, 0), np.float32)


@contextlib.contextmanager
def _quiet_stderr():
    """Silence the process's own stderr, where C++ libraries print past ``sys.stderr``."""
    saved = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)
