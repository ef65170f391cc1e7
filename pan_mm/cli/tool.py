"""``python -m pan_mm tool``: MMAction2's tools, with pan_mm imported before they import anything.

MMAction2's wheel cannot import its own models without the repairs of :mod:`pan_mm.compat`.
"""

import argparse
import sys

from pan_mm.engine.upstream import find_tool, run_tool


def add_arguments(parser):
    parser.epilog = """\
For a config of pan_mm, the file name without its folder is enough.
docs/mmaction2.md says what each tool does with a PAN.

example:
  python -m pan_mm tool test pan-lite_r18_1xb16-4x1x8-4e_motionshapes-rgb.py epoch_4.pth"""
    parser.add_argument(
        'name', help='such as train, test, confusion_matrix or vis_cam, or the path of a script'
    )
    parser.add_argument('args', nargs=argparse.REMAINDER, help="the tool's own arguments")


def run(args):
    sys.argv = [str(find_tool(args.name)), *args.args]
    try:
        run_tool(args.name)
    except (OSError, ValueError, ImportError):  # MMAction2's: the traceback says more
        sys.excepthook(*sys.exc_info())
        return 1
    return 0
