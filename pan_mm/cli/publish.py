"""``python -m pan_mm publish``: weights, config and class names as a file to share."""

import torch

from pan_mm.deploy.export.weights import publish
from pan_mm.inference.calibration import COVERAGE


def add_arguments(parser):
    parser.epilog = """\
The file holds weights, config and class names as data. The config names
folders of this machine, such as work_dir: if they are private, give a --config
without them.

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
    parser.add_argument(
        '--coverage',
        type=float,
        default=COVERAGE,
        help='share of these videos above the threshold',
    )
    parser.add_argument(
        '--label-map', metavar='FILE', help='class names, one per line; needs --config'
    )


def run(args):
    dtype = torch.float16 if args.half else None
    path = publish(
        *(args.checkpoint, args.out, args.config, args.label_map, dtype),
        scores=args.calibrate,
        coverage=args.coverage,
    )
    print(f'{path}: {path.stat().st_size / 1e6:.1f} MB')
