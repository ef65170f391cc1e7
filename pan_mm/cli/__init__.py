"""The command line: ``python -m pan_mm COMMAND``.

A command is a module ``pan_mm.cli.NAME`` with two functions: ``add_arguments(parser)``, which sets
an epilog that ends with an example, and ``run(args)``, which returns the exit status (None is 0).
The module is imported only when its command is called, so commands do not share dependencies;
``EXTRA`` names the extra that a command needs. Bad input raises an error of
``pan_mm.utils.errors``, which is caught here.
"""

import argparse
import gc
import os
import sys
from contextlib import nullcontext
from importlib import import_module

import pan_mm
from pan_mm.utils.errors import LINES, escape
from pan_mm.utils.terminal import Help

from .startup import lean_imports

COMMANDS = {
    'predict': 'name the actions in video files',
    'stream': 'find events in a video, a camera or a network stream',
    'export': 'write a recognizer as ONNX or torch.export, and check it',
    'publish': 'write the weights of a checkpoint, without the optimizer, to share them',
    'compare': 'train models alike on your own videos, and compare them',
    'serve': 'serve a recognizer as a web page and an HTTP API',
    'tool': 'run a tool of MMAction2, from any installation',
}

TRAINING = ('tool', 'compare')  # commands that may train, with all that upstream imports for it


def main(argv=None):
    """Run one command; return its exit status, 1 for bad input. Wrong usage exits with 2."""
    try:
        return _run(argv)
    except KeyboardInterrupt:  # commands that have something to keep handle it
        print('interrupted', file=sys.stderr)
        return 1


def _run(argv):
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(
        prog='python -m pan_mm',
        description='PAN, a plugin of MMAction2.',
        epilog='example:\n  python -m pan_mm predict my_videos --out actions.csv',
        formatter_class=Help,
        allow_abbrev=False,
    )
    parser.add_argument('--version', action='version', version=f'pan_mm {pan_mm.__version__}')
    commands = parser.add_subparsers(metavar='COMMAND', dest='command', required=True)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=summary,
            description=f'{summary[0].upper()}{summary[1:]}.',
            formatter_class=Help,
            allow_abbrev=False,
        )
        if name in argv[:1]:
            _command(name).add_arguments(command)
    if not argv:
        parser.print_help()
        return 2
    args = parser.parse_args(argv)
    command = _command(args.command)
    try:
        return command.run(args) or 0
    except BrokenPipeError:  # the reader closed the output, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (OSError, ValueError, ImportError) as error:  # bad input; the message names the fix
        print(f'error: {escape(error, keep=LINES)}', file=sys.stderr)
        extra = getattr(command, 'EXTRA', None)
        if extra and isinstance(error, ImportError) and 'pip install' not in str(error):
            print(f'install the extra: pip install -e ".[{extra}]"', file=sys.stderr)
        return 1


def _command(name):
    module = f'{__name__}.{name}'
    if module not in sys.modules:
        gc.disable()  # or it searches new modules again and again
        try:
            with nullcontext() if name in TRAINING else lean_imports():
                import_module(module)
        finally:
            gc.freeze()  # nor is that searched later
            gc.enable()
    return sys.modules[module]
