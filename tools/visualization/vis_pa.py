#!/usr/bin/env python3
"""Draw what PAN sees in a video: frames beside their PA maps, flow, GradCAM, VAP's weights."""

import sys
from pathlib import Path

from mmengine.dataset import pseudo_collate

from pan_mm.config.pipelines import VideoPipeline, video_info
from pan_mm.inference.recognizer import load_recognizer
from pan_mm.inference.zoo import choose
from pan_mm.models.streams import streams_of
from pan_mm.utils.errors import cli_errors
from pan_mm.utils.terminal import tool_parser
from pan_mm.visualization import inspect_clip, weights_chart, write_animation, write_picture
from pan_mm.visualization.layers import frames_of, grad_cam, grid_of, layers_of


def parse_args():
    parser = tool_parser(__doc__, 'clip.mp4 --out pa.gif --flow --cam')
    parser.add_argument('video')
    parser.add_argument(
        '--config',
        help='config or name of a model with PA; by default the one that comes with pan_mm',
    )
    parser.add_argument('--checkpoint', help='its weights; those of a config are random without')
    parser.add_argument('--out', required=True, type=Path, help='.png, .jpg, .gif or .mp4')
    parser.add_argument('--flow', action='store_true', help='optical flow beside the maps')
    parser.add_argument('--cam', action='store_true', help='GradCAM of the highest score')
    parser.add_argument(
        '--cam-layer', default='backbone/backbone/layer4', help='layer that GradCAM looks at'
    )
    parser.add_argument('--weights', type=Path, help="picture of VAP's weights to write too")
    parser.add_argument('--width', type=int, default=160, help='pixels of a frame in the picture')
    parser.add_argument('--dark', action='store_true', help='a picture for dark pages')
    parser.add_argument('--fps', type=float, default=6, help='of an animation')
    parser.add_argument('--device', default='cpu')
    return parser.parse_args()


@cli_errors()
def main():
    args = parse_args()
    model = load_recognizer(*choose(args.config, args.checkpoint), args.device)
    if not {'pa', 'lite'} & {stream.backbone.stream for stream in streams_of(model).values()}:
        sys.exit("error: the model computes no PA; give a config of stream 'pa' or 'lite'")
    data = pseudo_collate([VideoPipeline(model.cfg).reader()(video_info(args.video))])
    seen = inspect_clip(model, data['inputs'][0])
    cam = grad_cam(model, data, args.cam_layer) if args.cam else None
    layers = layers_of(seen, args.flow, cam)
    if args.out.suffix in ('.gif', '.mp4'):
        write_animation(args.out, list(frames_of(layers, 2 * args.width)), args.fps)
    else:
        write_picture(args.out, grid_of(layers, args.width, args.dark))
    if args.weights:
        if seen.vap_weights is None:
            sys.exit('error: the head of the model has no VAP weights')
        write_picture(args.weights, weights_chart(seen.vap_weights))


if __name__ == '__main__':
    main()
