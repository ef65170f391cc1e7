"""Options that several commands have."""

from pan_mm.inference.optimization import EXTRAS


def add_optimize(parser):
    """``--optimize``, for what :func:`pan_mm.inference.optimization.optimize` does."""
    parser.add_argument(
        '--optimize',
        nargs='*',
        choices=EXTRAS,
        help='quicker with the same scores; "half" adds half precision (scores differ by up to '
        '0.02), "compile" torch.compile (minutes to start)',
    )
