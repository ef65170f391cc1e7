#!/usr/bin/env python3
"""Draw what PAN sees in a video: frames beside their PA maps, flow, GradCAM, VAP's weights."""

import argparse
import sys
from pathlib import Path

import numpy as np
from mmaction.utils import GradCAM
from mmengine.dataset import pseudo_collate
from PIL import Image

from pan_mm.datasets.pipelines import VideoPipeline, video_info
from pan_mm.inference.recognizer import load_recognizer
from pan_mm.models.streams import streams_of
from pan_mm.utils.errors import errors_end_the_program
from pan_mm.visualization import (
    inspect_clip,
    optical_flow,
    paint_flow,
    paint_maps,
    tile,
    weights_chart,
    write_animation,
)


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('video')
    parser.add_argument('--config', required=True, help='config of a model with PA')
    parser.add_argument('--checkpoint', help='its weights; random without')
    parser.add_argument('--out', required=True, type=Path, help='.png, .jpg, .gif or .mp4')
    parser.add_argument('--flow', action='store_true', help='optical flow beside the maps')
    parser.add_argument('--cam', action='store_true', help='GradCAM of the highest score')
    parser.add_argument(
        '--cam-layer', default='backbone/backbone/layer4', help='layer that GradCAM looks at'
    )
    parser.add_argument('--weights', type=Path, help="picture of VAP's weights to write too")
    parser.add_argument('--width', type=int, default=160, help='pixels of a frame in the picture')
    parser.add_argument('--fps', type=float, default=6, help='of an animation')
    parser.add_argument('--device', default='cpu')
    return parser.parse_args()


def layers(seen, flow, cam):
    """Name and pictures (T, pairs, H, W, 3) of each layer; pairs is 1 for a still one."""
    yield 'frame', seen.frames[:, :-1]
    yield 'PA', paint_maps(seen.pa_maps)
    if flow:
        yield 'flow', paint_flow(np.stack([optical_flow(frames) for frames in seen.frames]))
    if cam is not None:
        yield 'GradCAM', cam[:, :1]


def grid(seen, flow, cam, width):
    """Segments side by side, the layers below one another."""
    rows, names = [], []
    for name, pictures in layers(seen, flow, cam):
        still = name in ('frame', 'GradCAM')
        for pair in range(1 if still else pictures.shape[1]):
            rows.append(list(pictures[:, pair]))
            names.append(name if still else f'{name} {pair + 1}')
    columns = [f'segment {i + 1}' for i in range(len(seen.frames))]
    return tile(rows, names, columns, width)


def animation(seen, flow, cam, width):
    """The layers side by side, pair after pair."""
    shown = list(layers(seen, flow, cam))
    for segment in range(seen.pa_maps.shape[0]):
        for pair in range(seen.pa_maps.shape[1]):
            row = [pictures[segment, min(pair, pictures.shape[1] - 1)] for _, pictures in shown]
            yield tile([row], (), [name for name, _ in shown], width)


def grad_cam(model, data, layer, num_segments):
    blended, _ = GradCAM(model, layer)(data)  # (1, T·m, H, W, 3) in 0 … 1
    blended = (blended[0].clamp(0, 1).cpu().numpy() * 255).astype(np.uint8)
    return blended.reshape(num_segments, -1, *blended.shape[1:])


@errors_end_the_program()
def main():
    args = parse_args()
    model = load_recognizer(args.config, args.checkpoint, args.device)
    if not {'pa', 'lite'} & {stream.backbone.stream for stream in streams_of(model).values()}:
        sys.exit("error: the model computes no PA; give a config of stream 'pa' or 'lite'")
    data = pseudo_collate([VideoPipeline(model.cfg).reader()(video_info(args.video))])
    seen = inspect_clip(model, data['inputs'][0])
    cam = None
    if args.cam:
        cam = grad_cam(model, data, args.cam_layer, model.backbone.num_segments)
    if args.out.suffix in ('.gif', '.mp4'):
        pictures = list(animation(seen, args.flow, cam, 2 * args.width))
        write_animation(args.out, pictures, args.fps)
    else:
        Image.fromarray(grid(seen, args.flow, cam, args.width)).save(args.out)
    if args.weights:
        if seen.vap_weights is None:
            sys.exit('error: the head of the model has no VAP weights')
        Image.fromarray(weights_chart(seen.vap_weights)).save(args.weights)


if __name__ == '__main__':
    main()
