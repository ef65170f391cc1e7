"""``python -m pan_mm tool``: MMAction2's tools, with pan_mm imported before they import anything.

MMAction2's wheel cannot import its own models without the repairs of :mod:`pan_mm.compat`.
"""

import argparse
import sys

from pan_mm.engine.upstream import find_tool, run_tool


def add_arguments(parser):
    parser.epilog = (
        'A config of ours may be given by its name alone. docs/mmaction2.md says what each tool '
        'does with a PAN.'
    )
    parser.add_argument(
        'name', help='such as train, test, confusion_matrix or vis_cam; or the path of a script'
    )
    parser.add_argument('args', nargs=argparse.REMAINDER, help="the tool's own arguments")


def run(args):
    sys.argv = [str(find_tool(args.name)), *args.args]
    try:
        run_tool(args.name)
    except (OSError, ValueError, ImportError):  # MMAction2's: the place says more than the words
        sys.excepthook(*sys.exc_info())
        return 1
    return 0
