"""Refuse misspelled settings, texts in place of numbers, and options that change nothing."""

import difflib
import functools
import inspect
from collections.abc import Iterable, Iterator
from contextlib import suppress
from inspect import Parameter
from typing import Any

import mmaction.registry
import mmengine.registry
from mmengine.registry import Registry
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from pan_mm.utils.errors import ConfigError, listed, nearest

REGISTRIES = [
    registry
    for module in (mmaction.registry, mmengine.registry)
    for registry in vars(module).values()
    if isinstance(registry, Registry)
]
# What a Runner builds where the config gives no type.
UNTYPED = {
    **dict.fromkeys(('train_dataloader', 'val_dataloader', 'test_dataloader'), DataLoader),
    'optim_wrapper': 'OptimWrapper',
    'val_cfg': 'ValLoop',
    'test_cfg': 'TestLoop',
    'log_processor': 'LogProcessor',
    'randomness': Runner.set_randomness,
}
SCALE = ('size', 'epochs')  # options of a CheckedRunner, see pan_mm.config.scale
NEAR = 0.8  # of difflib: a key this like a known one is a slip of the pen
# The least value of settings that count something, and settings that are other numbers.
LEAST = dict(batch_size=1, num_workers=0, num_classes=1, max_epochs=1, val_interval=1)
NUMBERS = {'lr', 'weight_decay', 'momentum'}


def arguments(kind: Any) -> dict:
    """List the arguments of a class, its parents' included, of a function, or of a name."""
    part = next(iter(_parts(kind)), None)
    return dict(_arguments(part)) if part else {}


@functools.lru_cache
def _arguments(part):
    functions = [part]
    if inspect.isclass(part):
        functions = [vars(owner).get('__init__') for owner in inspect.getmro(part)[:-1]]
    found: dict = {}
    for function in filter(inspect.isfunction, functions):
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
                found.setdefault(name, parameter)
    found.pop('self', None)
    return found


def argument(cfg: dict, name: str) -> Any:
    """Look up an argument: its value in the config, its default, or None."""
    parameter = arguments(cfg.get('type')).get(name)
    has_default = parameter is not None and parameter.default is not Parameter.empty
    return cfg.get(name, parameter.default if has_default else None)


def check_settings(cfg: dict, runner: type = Runner) -> None:
    """Refuse names near a known one, and counts and rates that are not numbers.

    Other names are left to the part itself, which may hand them on to other libraries.

    Raises:
        ConfigError: Naming each setting by its place in the config, and the nearest right one.
    """
    read = [key for key in cfg if key in arguments(runner)]
    _refuse(
        problem
        for place, part in _settings_of(cfg, read)
        if isinstance(part, dict) and ('type' in part or place in UNTYPED)
        for problem in _check_part(place, part)
    )


def check_options(cfg: dict, options: Iterable[str], runner: type = Runner) -> None:
    """Refuse options of a command line that change nothing that a run reads.

    Variables of a config have done their work when it is read: where ``data_root`` is also in a
    dataset, only that counts. A variable without such a copy may be read by custom code.

    Args:
        cfg (dict): Config of a run, without the options.
        options (Iterable[str]): Dotted keys.
        runner (type): The runner's class.

    Raises:
        ConfigError: Naming each option, and the settings that were meant.
    """
    read = {*arguments(runner), *getattr(runner, 'own_settings', ())}
    places = dict(_settings_of(cfg, [key for key in cfg if key in read]))
    problems = []
    for option in options:
        first = option.partition('.')[0]
        meant = [] if first in read else _meant(cfg, places, option)
        if meant or first in {*SCALE} - read:
            advice = f'set {" and ".join(meant[:3])}' if meant else nearest(option, read)
            problems.append(f'{option}: a run does not read {first!r} of a config; {advice}')
    _refuse(problems)


def _refuse(problems: Iterable[str]) -> None:
    problems = list(dict.fromkeys(problems))
    if problems:
        raise ConfigError(f'{len(problems)} setting(s) cannot be used:{listed(problems)}')


def _meant(cfg: dict, places: dict, option: str) -> list:
    """Find the settings that a run reads in place of this one."""
    first, dot, rest = option.partition('.')
    variable = cfg.get(first)
    if variable is None:
        ends = [place for place in places if place.endswith(f'.{option}')]
        return difflib.get_close_matches(option, places, 1, NEAR) or ends
    return [
        f'{place}{dot}{rest}'
        for place, value in places.items()
        if value == variable and (place.endswith(f'.{first}') or isinstance(value, (dict, list)))
    ]


def _settings_of(node: dict, keys: Iterable[str], place: str = '') -> Iterator[tuple]:
    """Walk these keys of a config: (place, value) of all that is in them."""
    for key in keys:
        value = node[key]
        yield f'{place}{key}', value
        if isinstance(value, (list, tuple)):
            value = dict(enumerate(value))
        if isinstance(value, dict):
            yield from _settings_of(value, value, f'{place}{key}.')


def _check_part(place: str, part: dict) -> Iterator[str]:
    classes = _parts(part.get('type', UNTYPED.get(place)))
    if part.get('with_cp') and part.get('depth') in (18, 34):  # MMAction2 only asserts it
        yield f'{place}.with_cp: blocks of depth {part["depth"]} cannot recompute; leave it out'
    taken = {name for cls in classes for name in arguments(cls)}
    for name, value in part.items():
        if fault := _fault_of(name, value):
            yield f'{place}.{name}: {fault}'
        is_known = name == 'type' or name in taken
        if not is_known and difflib.get_close_matches(name, taken, 1, NEAR):
            cls = getattr(classes[0], '__name__', '')
            yield f'{place}.{name}: {cls} has no argument {name!r}; {nearest(name, taken)}'


def _fault_of(name: str, value: Any) -> str:
    if name in (*LEAST, *NUMBERS) and isinstance(value, str):
        return f'{value!r} is a text, not a number'
    if name in LEAST and isinstance(value, float):
        return f'{value!r} is not a whole number'
    if name in LEAST and isinstance(value, int) and value < LEAST[name]:
        return f'{value!r} is too small; the least is {LEAST[name]}'
    return ''


def _parts(kind: Any) -> list:
    """Find the classes of a name in all registries."""
    if not isinstance(kind, str):
        return [kind] if callable(kind) else []
    _import_parts()
    found = [r.module_dict[kind] for r in REGISTRIES if kind in r.module_dict]
    return list(dict.fromkeys(found))


@functools.lru_cache
def _import_parts() -> None:
    """Fill the registries; once, as an import that fails would be tried again for each part."""
    for registry in REGISTRIES:
        with suppress(ImportError):  # MMAction2's EVALUATOR names a module that does not exist
            registry.import_from_location()
