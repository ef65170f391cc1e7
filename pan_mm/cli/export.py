"""``python -m pan_mm export``: write a recognizer for other runtimes."""

from pan_mm.export.exporter import export
from pan_mm.utils.terminal import status

from .options import add_model, chosen_model

EXTRA = 'export'
FORMATS = ('onnx', 'xml', 'pt2', 'aoti.pt2', 'safetensors')


def add_arguments(parser):
    add_model(parser)
    parser.add_argument(
        '--out',
        required=True,
        help='NAME.onnx, NAME.xml (OpenVINO), NAME.pt2 (torch.export), NAME.aoti.pt2 (compiled) or '
        'NAME.safetensors (the weights)',
    )
    parser.add_argument('--format', choices=FORMATS, help="must agree with --out's suffix")
    parser.add_argument(
        '--dtype', choices=('uint8', 'float32'), default='uint8', help='of the frames, 0 to 255'
    )
    parser.add_argument(
        '--size',
        nargs=2,
        type=int,
        metavar=('H', 'W'),
        help="of the frames; by default the test pipeline's crop",
    )
    parser.add_argument(
        '--video', nargs='+', default=[], help='compare on these too, not on random frames alone'
    )
    parser.add_argument(
        '--int8', action='store_true', help='quantise the .onnx, calibrated on the videos given'
    )
    parser.add_argument('--label-map', metavar='FILE', help='class names to store, one a line')


def run(args):
    if args.format and not args.out.endswith(f'.{args.format}'):
        raise ValueError(f'{args.out}: its name must end in .{args.format}')
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
        )
    print(f'{args.out}: largest difference from PyTorch {error:.1e} of the largest logit')
    return 0
