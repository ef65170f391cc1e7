"""``python -m pan_mm publish``: weights, config and class names as a file to share."""

import torch

from pan_mm.deploy.export.weights import publish


def add_arguments(parser):
    parser.epilog = """\
The file holds weights, class names, and of the config the model and the test
pipeline, as data.

example:
  python -m pan_mm publish work_dirs/own/epoch_15.pth --out my_pan.pth --half"""
    parser.add_argument('checkpoint', help='checkpoint of a training, or of tools/convert')
    parser.add_argument('--config', help='its config; by default the one in the checkpoint')
    parser.add_argument(
        '--out',
        metavar='NAME.pth',
        help="writes NAME-HASH.pth; by default NAME is the checkpoint's",
    )
    parser.add_argument('--half', action='store_true', help='store float16 weights: half the size')
    parser.add_argument(
        '--calibrate',
        metavar='SCORES.pkl',
        help='scores that tools/test.py --dump wrote of videos the model was not trained on: '
        'probabilities become honest, and predict says where it is unsure',
    )


def run(args):
    dtype = torch.float16 if args.half else None
    path = publish(args.checkpoint, args.out, args.config, dtype, args.calibrate)
    print(f'{path}: {path.stat().st_size / 1e6:.1f} MB')
