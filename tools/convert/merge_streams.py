#!/usr/bin/env python3
"""Join checkpoints of single streams into one of a PANEnsemble, for test.py and all other tools."""

from mmengine.config import Config

from pan_mm.config.find import config_path
from pan_mm.convert import merge_streams
from pan_mm.utils.errors import cli_errors
from pan_mm.utils.terminal import tool_parser


def parse_args():
    parser = tool_parser(
        __doc__, 'pan-en_r50_4x1x8_sthv1-rgb.py en.pth rgb=rgb.pth pa=pa.pth lite=lite.pth'
    )
    parser.add_argument('config', help='config whose model is a PANEnsemble')
    parser.add_argument('dst', help='checkpoint to write; replaced if it exists')
    parser.add_argument(
        'checkpoints', nargs='+', metavar='STREAM=CHECKPOINT', help='such as rgb=rgb.pth'
    )
    args = parser.parse_args()
    pairs = [checkpoint.partition('=') for checkpoint in args.checkpoints]
    for stream, _, path in pairs:
        if not stream or not path:
            parser.error(f'write STREAM=CHECKPOINT, such as rgb=rgb.pth, not {stream + path!r}')
    args.checkpoints = {stream: path for stream, _, path in pairs}
    return args


@cli_errors()
def main():
    args = parse_args()
    cfg = Config.fromfile(config_path(args.config))
    merge_streams(cfg, args.checkpoints, args.dst)
    print(f'{args.dst}: {", ".join(args.checkpoints)}')
    print(f'next: python tools/test.py {args.config} {args.dst}')


if __name__ == '__main__':
    main()
