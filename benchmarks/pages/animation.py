#!/usr/bin/env python3
"""Draw the moving picture of README.md: a stream, its motion cue, and its labels as they come.

    config=configs/recognition/pan/pan-lite_r18_1xb16-4x1x8-4e_motionshapes-rgb.py
    python tools/train.py $config --seed 0 --work-dir runs/shapes \
        --cfg-options epochs=16 model.backbone.stream=pa
    python tools/test.py runs/shapes/pan-lite*.py runs/shapes/epoch_16.pth \
        --dump runs/shapes/val.pkl --cfg-options test_dataloader.dataset.split=val
    python -m pan_mm publish runs/shapes/epoch_16.pth --out runs/shapes/pan.pth \
        --calibrate runs/shapes/val.pkl
    python -m benchmarks.pages.animation runs/shapes/pan-lite*.py runs/shapes/pan-*.pth

The stream is scenes of MotionShapes one after another. Labels and doubts are what ``python -m
pan_mm stream`` prints for it.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Optional

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from benchmarks.compared import ROOT
from pan_mm.datasets.motion_shapes.render import CLASSES, FPS, render, sample_clip, write_video
from pan_mm.inference.recognizer import load_config, load_recognizer
from pan_mm.visualization import paint_maps

SCENES = ('move_right', 'rotate_clockwise', 'part')
FRAMES, SIZE, SEED = 60, 64, 2  # of a scene; pixels
SPEED = 36  # frames in which a scene moves as far as a clip of the dataset
STRIDE = 4  # frames from segment to segment, as in training
SHOWN, GAP, PANEL = 200, 14, 236  # pixels of a picture, between pictures, of the labels
SCALE = 2  # text and bars are drawn larger, then made smaller
# Paper, ink, faint ink, bar of the first class, bar of the others.
LIGHT = ('#ffffff', '#1f2328', '#818b98', '#d1570d', '#e4d3c5')
DARK = ('#0d1117', '#f0f6fc', '#8b949e', '#f0883e', '#4a3728')


def render_stream() -> np.ndarray:
    """Render the scenes; RGB, uint8, shape (T, H, W, 3)."""
    rng, frames = np.random.default_rng(SEED), []
    for name in SCENES:
        clip = sample_clip(rng, list(CLASSES).index(name), SIZE, SPEED)
        frames.append(render(dataclasses.replace(clip, num_frames=FRAMES), rng))
    return np.concatenate(frames)


def predictions(config: Path, checkpoint: Path, frames: np.ndarray) -> list:
    """Run the command on the stream; gives a prediction or None for each frame."""
    with tempfile.TemporaryDirectory() as folder:
        video = str(Path(folder, 'stream.mp4'))
        write_video(video, frames)
        command = [sys.executable, '-m', 'pan_mm', 'stream', video, '--predictions']
        command += ['--config', config, '--checkpoint', checkpoint, '--stride', str(STRIDE)]
        printed = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    records = [json.loads(line) for line in printed.splitlines()]
    found: list = [None] * len(frames)
    for record in records:
        if 'time' in record:
            first = round(record['time'] * FPS) - 1
            found[first:] = [record] * (len(frames) - first)
    return found


@torch.no_grad()
def motion_maps(config: Path, checkpoint: Path, frames: np.ndarray) -> np.ndarray:
    """Paint PA of each frame and the one before, by the filters of the model; (T, H, W, 3)."""
    model = load_recognizer(load_config(config), str(checkpoint), 'cpu')
    mean, std = model.data_preprocessor.mean, model.data_preprocessor.std
    images = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
    images = (images - mean.reshape(3, 1, 1)) / std.reshape(3, 1, 1)
    images = torch.cat([images[:1], images])
    pairs = torch.stack([images[:-1], images[1:]], 1)  # (T, m, 3, H, W), m = 2
    return paint_maps(model.backbone.persistence(pairs)[:, 0].numpy())


def picture_of(frame: np.ndarray, maps: np.ndarray, found: Optional[dict], dark: bool) -> Image:
    """Draw a frame, its PA map and the labels side by side."""
    paper, ink, faint, first, others = DARK if dark else LIGHT
    size = (2 * SHOWN + 3 * GAP + PANEL, SHOWN + 2 * GAP + 18)
    canvas = Image.new('RGB', [SCALE * length for length in size], paper)
    pen = ImageDraw.Draw(canvas)

    def write(place, text, color, points, anchor='la'):
        font = ImageFont.load_default(SCALE * points)
        pen.text([SCALE * x for x in place], text, color, font, anchor)

    for column, (name, picture) in enumerate((('video', frame), ('motion cue: PA', maps))):
        left = GAP + column * (SHOWN + GAP)
        paste_rounded(canvas, picture, left)
        write((left + SHOWN / 2, GAP + SHOWN + 14), name, faint, 13, 'mm')
    left = 2 * SHOWN + 3 * GAP
    if found is None:
        write((left, GAP + 4), 'watching …', faint, 22)
        return canvas.resize(size, Image.LANCZOS)
    (name, _), *_ = top = list(found['top'].items())[:3]
    sure = not found.get('unsure')
    write((left, GAP + 4), name.replace('_', ' ') if sure else 'unsure', ink if sure else faint, 22)
    for row, (name, score) in enumerate(top):
        y = GAP + 58 + 50 * row
        color = first if sure and not row else others
        write((left, y), name.replace('_', ' '), ink if sure and not row else faint, 14)
        write((left + PANEL - GAP, y), f'{score:.0%}', faint, 14, 'ra')
        bar = left, y + 22, left + max(score * (PANEL - GAP), 3), y + 29
        pen.rounded_rectangle([SCALE * length for length in bar], SCALE * 3, color)
    return canvas.resize(size, Image.LANCZOS)


def paste_rounded(canvas: Image, picture: np.ndarray, left: int) -> None:
    """Put a picture with round corners onto the canvas."""
    side = SCALE * SHOWN
    mask = Image.new('L', (side, side))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, side, side), SCALE * 8, 255)
    image = Image.fromarray(picture).resize((side, side), Image.BICUBIC)
    canvas.paste(image, (SCALE * left, SCALE * GAP), mask)


def main(argv: Optional[list] = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', type=Path)
    parser.add_argument('checkpoint', type=Path)
    args = parser.parse_args(argv)
    model, frames = (args.config, args.checkpoint), render_stream()
    steps = list(zip(frames, motion_maps(*model, frames), predictions(*model, frames)))
    for name, dark in (('light', False), ('dark', True)):
        first, *others = (picture_of(*step, dark) for step in steps)
        path = ROOT / 'docs' / 'images' / f'stream_{name}.webp'
        options = dict(quality=60, method=6, duration=round(1000 / FPS), loop=0)
        first.save(path, save_all=True, append_images=others, **options)
        print(f'{path}: {path.stat().st_size / 2**20:.2f} MiB')


if __name__ == '__main__':
    main()
