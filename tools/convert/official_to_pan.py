#!/usr/bin/env python3
"""Convert a checkpoint of the authors' PAN-PyTorch (.pth.tar) for use with MMAction2."""

from pan_mm.convert import convert_official_checkpoint
from pan_mm.convert.labels import LABEL_ORDERS
from pan_mm.utils.errors import cli_errors
from pan_mm.utils.terminal import print_table, tool_parser


def parse_args():
    parser = tool_parser(__doc__, 'PAN_Lite.pth.tar pan_lite.pth --label-order sthv1')
    parser.add_argument('src', help="the authors' file")
    parser.add_argument('dst', help='checkpoint to write; replaced if it exists')
    parser.add_argument(
        '--label-order',
        choices=LABEL_ORDERS,
        help='dataset the weights were trained on, if it is one whose classes the authors number '
        'by sorted name: the classifier then gets the order of MMAction2 annotations. None is '
        'needed for Something-Something V2',
    )
    return parser.parse_args()


@cli_errors()
def main():
    args = parse_args()
    meta = convert_official_checkpoint(args.src, args.dst, args.label_order)
    unsure = args.label_order is None and meta['num_classes'] in (174, 27)
    dataset = args.label_order or 'DATASET'
    order = f'the order of MMAction2 ({dataset})' if args.label_order else "the authors' order"
    print(f'{args.src} -> {args.dst}')
    print_table(
        [
            ('stream', meta['stream']),
            ('backbone', f'ResNet-{meta["depth"]} with temporal shift'),
            ('segments', str(meta['num_segments'])),
            ('classes', f'{meta["num_classes"]}, in {order}'),
            ('epoch', str(meta['source_epoch'])),
            ('sha256', f'{meta["source_sha256"]} (source)'),
        ]
    )
    if unsure:
        right = 'sthv1' if meta['num_classes'] == 174 else 'jester'
        print(
            f'note: if these weights are of {right}, its classes are numbered otherwise in '
            f'MMAction2; convert again with --label-order {right}'
        )
    print(
        f'next: python tools/test.py configs/recognition/pan/pan-{meta["stream"]}_*r{meta["depth"]}'
        f'*x{meta["num_segments"]}-*_{dataset}-rgb.py {args.dst}'
    )


if __name__ == '__main__':
    main()
