"""Render MotionShapes, the embedded dataset, into a folder."""

from pan_mm.datasets.motion_shapes.dataset import render_motion_shapes
from pan_mm.utils.errors import cli_errors
from pan_mm.utils.terminal import tool_parser


def parse_args():
    parser = tool_parser(__doc__, 'data/motionshapes --size 112')
    parser.add_argument('data_root', nargs='?', default='data/motionshapes', help='folder to make')
    parser.add_argument('--num-train', type=int, default=600, help='training clips')
    parser.add_argument('--num-val', type=int, default=120, help='validation clips')
    parser.add_argument('--num-test', type=int, default=240, help='test clips')
    parser.add_argument('--seed', type=int, default=0, help='equal seeds give equal files')
    parser.add_argument('--size', type=int, default=64, help='height and width in pixels')
    return parser.parse_args()


@cli_errors()
def main():
    args = parse_args()
    render_motion_shapes(**vars(args))
    print(f'MotionShapes is in {args.data_root}')


if __name__ == '__main__':
    main()
