"""MMAction2's own command-line tools, for tools that build on them."""

import argparse
import gc
import logging
import os
import runpy
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Optional

import mmaction
from mmaction.registry import RUNNERS
from mmengine.config import Config, DictAction
from mmengine.runner import Runner

from pan_mm.config.find import config_path, require_config
from pan_mm.config.overrides import check_options
from pan_mm.utils.errors import PANError, cli_errors
from pan_mm.utils.plain_data import plain_pickles

CHECKED = ('train', 'test')  # the tools that build a runner


def find_tool(name: str) -> Path:
    """The file of one of the tools that MMAction2 includes.

    Args:
        name (str): Path in MMAction2's tools folder, or the file's name, with or without '.py'; or
            the path of any script, with a folder before its name.

    Raises:
        FileNotFoundError: If the installed MMAction2 has no such tool.
    """
    if os.sep in name and os.path.isfile(name):
        return Path(name)
    package = Path(mmaction.__file__).parent
    name = f'{name.removesuffix(".py")}.py'
    folders = (package / '.mim' / 'tools', package.parent / 'tools')
    for folder in folders:
        for path in (folder / name, *sorted(folder.rglob(Path(name).name))):
            if path.is_file():
                return path
    there = sorted({path.stem for folder in folders for path in folder.glob('[!d]*/*.py')})
    raise FileNotFoundError(
        f'MMAction2 {mmaction.__version__} in {package} has no tool {name}; '
        + (f'it has {", ".join(there)}' if there else 'install it again')
    )


def run_tool(name: str, example: Optional[str] = None) -> None:
    """Run one of these tools with the arguments of the process, and end with its exit status.

    The first of them that ends in '.py' may be the name of one of our configs, as for
    :func:`pan_mm.config.find.config_path`. Bad input ends it with ``error: …``: also, of
    'train' and 'test', a config that is not there and options that change nothing. With
    ``--traceback`` the error is raised. The help ends with the ``example``, if there is one.
    """
    gc.freeze()  # collections need not search what was imported: it stays
    logging.raiseExceptions = False  # a full disk would print a traceback for each line
    checked = name.removesuffix('.py') in CHECKED
    raises, options = _own_options() if checked else (False, {})
    kinds = (PANError, OSError, ImportError) if checked else (PANError,)
    with nullcontext() if raises else cli_errors(*kinds):
        for i, word in enumerate(sys.argv[1:], 1):
            if word.endswith('.py'):
                sys.argv[i] = str(config_path(word))
                if checked:
                    _check(require_config(word), options)
                break
        try:
            with plain_pickles():
                runpy.run_path(str(find_tool(name)), run_name='__main__')
        except KeyboardInterrupt:
            if raises or not checked:
                raise
            is_training = name.startswith('train')
            advice = '; --resume continues from the last checkpoint' if is_training else ''
            sys.exit(f'interrupted{advice}')
        finally:
            if example and _asks_for_help():
                print(f'\nexample:\n  {example}')


class _Options(DictAction):
    """MMEngine's KEY=VALUE, with the usual message where a word is not that."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        for word in values:
            if '=' not in word:
                parser.error(f'{option_string}: {word!r} is not KEY=VALUE')
        super().__call__(parser, namespace, values, option_string)


def _asks_for_help() -> bool:
    return not {'-h', '--help'}.isdisjoint(sys.argv)


def _own_options() -> tuple:
    """Read ``--traceback``, our own option, and the changes of the config."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, usage=argparse.SUPPRESS)
    parser.add_argument('--traceback', action='store_true', help='show where an error arose')
    if _asks_for_help():
        parser.print_help()
    parser.add_argument('--cfg-options', nargs='+', action=_Options, default={})
    args, _ = parser.parse_known_args()
    sys.argv = [word for word in sys.argv if word != '--traceback']
    return args.traceback, args.cfg_options


def _check(path: Path, options: dict) -> None:
    cfg = Config.fromfile(path)
    kind = options.get('runner_type', cfg.get('runner_type', 'Runner'))
    check_options(cfg, options, RUNNERS.get(kind) or Runner)
