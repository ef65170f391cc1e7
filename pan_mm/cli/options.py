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


def add_allow_native_code(parser):
    """``--allow-native-code``, for checkpoints that are compiled models."""
    parser.add_argument(
        '--allow-native-code',
        action='store_true',
        help='load a compiled model (.aoti.pt2): it runs with your rights, so trust its maker',
    )
