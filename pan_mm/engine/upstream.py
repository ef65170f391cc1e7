"""MMAction2's own command-line tools, for tools that build on them."""

import argparse
import logging
import os
import runpy
import sys
from pathlib import Path
from typing import Optional

import mmaction
from mmaction.registry import RUNNERS
from mmengine.config import Config, DictAction
from mmengine.runner import Runner

from pan_mm.config.find import config_path, require_config
from pan_mm.config.overrides import check_options
from pan_mm.utils.errors import ConfigError, PANError, cli_errors, nearest
from pan_mm.utils.plain_data import plain_pickles

CHECKED = ('train', 'test')  # the tools that build a runner


def find_tool(name: str) -> Path:
    """The file of one of the tools that MMAction2 includes.

    Args:
        name (str): Name of the file, or the path of any script, with a folder before its name.

    Raises:
        FileNotFoundError: If the installed MMAction2 has no such tool.
    """
    if os.sep in name and os.path.isfile(name):
        return Path(name)
    folder = Path(mmaction.__file__).parent / '.mim' / 'tools'
    # The last of a name stays: the file nearest to the root.
    files = sorted(folder.rglob('*.py'), key=lambda path: -len(path.parts))
    tools = {path.stem: path for path in files}
    if (stem := name.removesuffix('.py')) not in tools:
        raise FileNotFoundError(f'MMAction2 has no tool {stem}.py; {nearest(stem, tools)}')
    return tools[stem]


def run_tool(name: str, example: Optional[str] = None) -> None:
    """Run one of these tools with the arguments of the process, and end with its exit status.

    The first of them that ends in '.py' may be the name of one of our configs, as for
    :func:`pan_mm.config.find.config_path`. Bad input ends it with ``error: …``: also, of
    'train' and 'test', a config that is not there and options that change nothing. The help ends
    with the ``example``, if there is one.
    """
    logging.raiseExceptions = False  # a full disk would print a traceback for each line
    checked = name.removesuffix('.py') in CHECKED
    kinds = (PANError, OSError, ImportError) if checked else (PANError,)
    with cli_errors(*kinds):
        for i, word in enumerate(sys.argv[1:], 1):
            if word.endswith('.py'):
                sys.argv[i] = str(config_path(word))
                if checked:
                    _check(require_config(word))
                break
        try:
            with plain_pickles():
                runpy.run_path(str(find_tool(name)), run_name='__main__')
        except KeyboardInterrupt:
            sys.exit('interrupted; --resume continues a training from its last checkpoint')
        finally:
            if example and not {'-h', '--help'}.isdisjoint(sys.argv):
                print(f'\nexample:\n  {example}')


def _check(path: Path) -> None:
    """Refuse options that change nothing."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument('--cfg-options', nargs='+', default=[])
    words = parser.parse_known_args()[0].cfg_options
    if wrong := [word for word in words if '=' not in word]:
        raise ConfigError(f'--cfg-options: {wrong[0]!r} is not KEY=VALUE')
    pairs = (word.split('=', 1) for word in words)
    options = {key: DictAction._parse_iterable(value) for key, value in pairs}
    cfg = Config.fromfile(path)
    kind = options.get('runner_type', cfg.get('runner_type', 'Runner'))
    check_options(cfg, options, RUNNERS.get(kind) or Runner)
