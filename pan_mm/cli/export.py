"""``python -m pan_mm export``: write a recognizer for other runtimes."""

from pan_mm.deploy.export.exporter import OPSETS, export
from pan_mm.utils.terminal import status

from .options import add_model, chosen_model

EXTRA = 'export'
FORMATS = ('onnx', 'pt2', 'safetensors')


def add_arguments(parser):
    parser.epilog = 'example:\n  python -m pan_mm export --out pan.onnx --label-map label_map.txt'
    add_model(parser)
    parser.add_argument(
        '--out',
        required=True,
        help='NAME.onnx, NAME.pt2 (torch.export) or NAME.safetensors (the weights)',
    )
    parser.add_argument('--format', choices=FORMATS, help='must match the suffix of --out')
    parser.add_argument(
        '--dtype',
        choices=('uint8', 'float32'),
        default='uint8',
        help='type of the frames, whose values are 0 to 255',
    )
    parser.add_argument(
        '--size',
        nargs=2,
        type=int,
        metavar=('H', 'W'),
        help="size of the frames; by default the test pipeline's crop",
    )
    parser.add_argument(
        '--video', nargs='+', default=[], help='compare on these as well as on random frames'
    )
    parser.add_argument(
        '--int8',
        action='store_true',
        help='quantize the .onnx, calibrated on the videos of --video',
    )
    parser.add_argument('--label-map', metavar='FILE', help='class names to store, one per line')
    parser.add_argument(
        '--opset',
        type=int,
        choices=OPSETS,
        default=OPSETS[-1],
        help="version of ONNX's operators; older TensorRT needs 17",
    )


def run(args):
    if args.format and not args.out.endswith(f'.{args.format}'):
        raise ValueError(f'{args.out}: the name must end in .{args.format}')
    model = chosen_model(args)
    with status('exporting and comparing with PyTorch'):
        error = export(
            *model,
            args.out,
            dtype=args.dtype,
            size=args.size,
            videos=args.video,
            label_map=args.label_map,
            int8=args.int8,
            opset=args.opset,
        )
    print(f'{args.out}: largest difference from PyTorch {error:.1e} of the largest logit')
    return 0
