"""``python -m pan_mm compare``: models trained alike on own videos."""

from pathlib import Path

from pan_mm.engine.comparison import Comparison
from pan_mm.engine.own_videos import OWN_MODELS
from pan_mm.utils.terminal import echo, print_table

COLUMNS = ('model', 'steps', 'minutes', 'training', 'validation', '95 % interval')


def add_arguments(parser):
    parser.epilog = """\
Needs the lists that tools/data/build_list.py writes. Each model gets the same
videos, frames of the same size and the same time; accuracies are in percent,
of the weights after the last step, and the interval (Wilson) takes the videos
as independent. Started again, it continues where it was stopped.

example:
  python -m pan_mm compare my_videos --models pan-pa tsm --minutes 30"""
    parser.add_argument('videos', type=Path, help='folder with the lists of build_list.py')
    parser.add_argument(
        '--models',
        nargs='+',
        choices=list(OWN_MODELS),
        default=list(OWN_MODELS),
        metavar='MODEL',
        help=f'of {", ".join(OWN_MODELS)}',
    )
    parser.add_argument(
        '--minutes', type=float, default=30, help='of one core, or of the GPU, for each model'
    )
    parser.add_argument('--size', type=int, help='height and width of the frames, in pixels')
    parser.add_argument(
        '--no-flip',
        action='store_true',
        help="show no mirror images; so it is where a class's name speaks of a side, such as left",
    )
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--out', type=Path, help='folder for all; by default work_dirs/compare_VIDEOS'
    )


def run(args):
    out = args.out or Path('work_dirs') / f'compare_{args.videos.resolve().name}'
    flip = False if args.no_flip else None
    comparison = Comparison(args.videos, out, args.minutes, args.size, args.seed, flip)
    print(f'{len(args.models)} models, about {args.minutes * len(args.models):.0f} minutes in all')
    rows = []
    try:
        for row in comparison.run(args.models):
            echo(f'{row["model"]}: validation {row["validation"]} %. {row["verdict"]}')
            rows.append(row)
    except KeyboardInterrupt:
        echo('stopped; the same command continues', 'yellow')
        return 1
    print()
    cells = [
        [*(str(row[key]) for key in COLUMNS[:-1]), f'{row["low"]} … {row["high"]}'] for row in rows
    ]
    print_table(sorted(cells, key=lambda row: -float(row[4])), COLUMNS)
    print()
    for row in rows:
        print(row['command'])
    print(f'\n{comparison.draw()}, {out / "compare.csv"}')
    return 0
