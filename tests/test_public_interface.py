"""The public interface changes only on purpose: registered names, the command line, configs.

After an intended change, write the snapshot anew: ``python tests/test_public_interface.py``.
"""

import argparse
import inspect
from importlib import import_module
from pathlib import Path

from mmaction import registry as mmaction_registry
from mmengine.registry import Registry

import pan_mm.apis
import pan_mm.datasets
import pan_mm.engine
import pan_mm.models  # noqa: F401  otherwise PAN's parts come when a registry is first asked
from pan_mm.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
SNAPSHOT = ROOT / 'tests' / 'data' / 'public_interface.txt'


def registered():
    """A line for each name that the package registers, with its arguments and their defaults."""
    for name, registry in sorted(vars(mmaction_registry).items()):
        if isinstance(registry, Registry) and registry.scope == 'mmaction':
            for key, part in sorted(registry.module_dict.items()):
                if inspect.isclass(part) and part.__module__.startswith('pan_mm'):
                    yield f'{name} {key}({arguments(part)})'


def arguments(part):
    owner = next(c for c in part.__mro__ if '__init__' in vars(c))
    if not owner.__module__.startswith('pan_mm'):
        return f'as {owner.__name__}'
    bare = (p.replace(annotation=p.empty) for p in inspect.signature(part).parameters.values())
    return ', '.join(map(str, bare))


def options():
    """A line for each argument of each command, with its choices and default."""
    for command in COMMANDS:
        parser = argparse.ArgumentParser(add_help=False)
        import_module(f'pan_mm.cli.{command}').add_arguments(parser)
        for action in parser._actions:
            names = ' '.join(action.option_strings) or action.dest
            choices = f' {{{",".join(map(str, action.choices))}}}' if action.choices else ''
            yield f'python -m pan_mm {command} {names}{choices} = {action.default!r}'


def configs():
    for path in sorted((ROOT / 'configs').rglob('*.py')):
        if '_base_' not in path.parts:
            yield path.relative_to(ROOT).as_posix()


def describe():
    """The public interface as text."""
    api = [f'pan_mm.apis.{name}' for name in pan_mm.apis.__all__]
    sections = {
        'Registered names': registered(),
        'Python': api,
        'Command line': options(),
        'Configs': configs(),
    }
    return '\n'.join(f'# {title}\n' + '\n'.join(lines) + '\n' for title, lines in sections.items())


def test_the_public_interface_is_the_published_one():
    assert describe().splitlines() == SNAPSHOT.read_text(encoding='utf-8').splitlines()


if __name__ == '__main__':
    SNAPSHOT.write_text(describe(), encoding='utf-8')
