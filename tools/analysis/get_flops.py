#!/usr/bin/env python3
"""Print multiply-accumulates and parameters of a config's model, as the paper counts them."""

import torch
from mmaction.registry import MODELS
from mmengine.registry import init_default_scope

from pan_mm.config.pipelines import VideoPipeline
from pan_mm.inference.complexity import get_complexity
from pan_mm.inference.recognizer import load_config
from pan_mm.utils.errors import cli_errors
from pan_mm.utils.terminal import print_table, tool_parser


def parse_args():
    parser = tool_parser(__doc__, 'pan-en_r50_4x1x8_sthv1-rgb --shape 224')
    parser.add_argument('config', help='a file, or the name of a model of the zoo')
    parser.add_argument(
        '--shape',
        type=int,
        nargs='+',
        help='frames of one view, T·m 3 H W, or only their size, H or H W; by default as '
        "config's test pipeline gives",
    )
    args = parser.parse_args()
    if args.shape and len(args.shape) not in (1, 2, 4):
        parser.error(f'--shape takes 1, 2 or 4 numbers, not {len(args.shape)}')
    return args


@cli_errors()
def main():
    args = parse_args()
    cfg = load_config(args.config)
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    views = 1
    if args.shape and len(args.shape) == 4:
        shape = tuple(args.shape)
    else:
        pipeline = VideoPipeline(cfg)
        views, shape = pipeline.num_views, pipeline.view_shape()
        if args.shape:
            shape = (*shape[:2], args.shape[0], args.shape[-1])
    try:
        with torch.device('meta'):
            model = MODELS.build(cfg.model)
    except NotImplementedError:  # MMAction2's TANet loads weights while it is built
        model = MODELS.build(cfg.model)
    total = get_complexity(model, shape)
    print(f'one view of {" × ".join(map(str, shape))}, {views} view(s) of each video')
    print_table(
        (
            (name, f'{total.params / 1e6:.3f}', f'{n * total.macs / 1e9:.2f}')
            + (f'{n * total.paper_macs / 1e9:.2f}',)
            for name, n in (('one view', 1), ('all views', views))
        ),
        head=('', 'params, M', 'GMACs', 'GMACs of the paper'),
    )
    if total.macs != total.paper_macs:
        print("The paper's PA convolves every frame; here one difference less is convolved.")


if __name__ == '__main__':
    main()
