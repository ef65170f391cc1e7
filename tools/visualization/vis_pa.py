#!/usr/bin/env python3
"""Draw what PAN sees in a video: frames beside their PA maps."""

from pathlib import Path

from mmengine.dataset import pseudo_collate

from pan_mm.config.pipelines import VideoPipeline, video_info
from pan_mm.inference.recognizer import load_recognizer
from pan_mm.inference.zoo import choose
from pan_mm.utils.errors import PANError, cli_errors
from pan_mm.utils.terminal import tool_parser
from pan_mm.visualization import inspect_clip, write_animation, write_picture


def parse_args():
    parser = tool_parser(__doc__, 'clip.mp4 --out pa.gif')
    parser.add_argument('video')
    parser.add_argument(
        '--config',
        help='config or name of a model with PA; by default the one that comes with pan_mm',
    )
    parser.add_argument('--checkpoint', help='its weights; random if none are given')
    parser.add_argument('--out', required=True, type=Path, help='.png, .jpg or .gif')
    parser.add_argument('--width', type=int, default=160, help='pixels of a frame in the picture')
    parser.add_argument('--dark', action='store_true', help='a picture for dark pages')
    parser.add_argument('--fps', type=float, default=6, help='of an animation')
    parser.add_argument('--device', default='cpu')
    return parser.parse_args()


@cli_errors()
def main():
    args = parse_args()
    model = load_recognizer(*choose(args.config, args.checkpoint), args.device)
    data = pseudo_collate([VideoPipeline(model.cfg).reader()(video_info(args.video))])
    seen = inspect_clip(model, data['inputs'][0])
    if seen.pa_maps is None:
        raise PANError("the model computes no PA; give a config of stream 'pa' or 'lite'")
    if args.out.suffix == '.gif':
        write_animation(args.out, seen.animation(2 * args.width), args.fps)
    else:
        write_picture(args.out, seen.grid(args.width, args.dark))


if __name__ == '__main__':
    main()
