"""``python -m pan_mm publish``: what others need of a checkpoint, as a file to hand on."""

import torch

from pan_mm.export.weights import publish


def add_arguments(parser):
    parser.epilog = (
        'The file holds weights, config and class names as data. The config names folders of this '
        'machine, such as work_dir: give a --config without them where they are private.'
    )
    parser.add_argument('checkpoint', help='file of a training, or of tools/convert')
    parser.add_argument('--config', help='its config; by default the one that the checkpoint holds')
    parser.add_argument(
        '--out', metavar='NAME.pth', help="for NAME-HASH.pth; by default the checkpoint's own name"
    )
    parser.add_argument('--half', action='store_true', help='float16 weights: half the bytes')
    parser.add_argument(
        '--label-map', metavar='FILE', help='class names, one a line; needs --config'
    )


def run(args):
    dtype = torch.float16 if args.half else None
    path = publish(args.checkpoint, args.out, args.config, args.label_map, dtype)
    print(f'{path}: {path.stat().st_size / 1e6:.1f} MB')
