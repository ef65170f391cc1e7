"""``python -m pan_mm export``: write a recognizer for other runtimes."""

from pan_mm.deploy.export.exporter import OPSETS, export
from pan_mm.utils.terminal import status

from .options import add_model, chosen_model

EXTRA = 'export'


def add_arguments(parser):
    parser.epilog = 'example:\n  python -m pan_mm export --out pan.onnx --label-map label_map.txt'
    add_model(parser)
    parser.add_argument(
        '--out',
        required=True,
        help='NAME.onnx, NAME.pt2 (torch.export) or NAME.safetensors (the weights)',
    )
    parser.add_argument(
        '--video', nargs='+', default=[], help='compare on these as well as on random frames'
    )
    parser.add_argument(
        '--int8',
        action='store_true',
        help='quantize the .onnx, calibrated on the videos of --video',
    )
    parser.add_argument(
        '--opset',
        type=int,
        choices=OPSETS,
        default=OPSETS[-1],
        help='of the .onnx; 17 for older TensorRT',
    )


def run(args):
    model = chosen_model(args)
    with status('exporting and comparing with PyTorch'):
        error = export(*model, args.out, args.video, args.label_map, args.int8, args.opset)
    print(f'{args.out}: largest difference from PyTorch {error:.1e} of the largest logit')
