"""Settings that act: misspelled keys, and options that change nothing, are refused."""

import difflib
import functools
import inspect
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import mmaction.registry
import mmengine.registry
from mmaction.registry import RUNNERS
from mmengine.registry import Registry
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from pan_mm.utils.errors import ConfigError, listed, nearest

from .values import fault_of, hints_of

REGISTRIES = [
    registry
    for module in (mmaction.registry, mmengine.registry)
    for registry in vars(module).values()
    if isinstance(registry, Registry)
]
# What a Runner builds where the config gives no type.
UNTYPED = {
    'train_dataloader': DataLoader,
    'val_dataloader': DataLoader,
    'test_dataloader': DataLoader,
    'optim_wrapper': 'OptimWrapper',
    'val_cfg': 'ValLoop',
    'test_cfg': 'TestLoop',
    'log_processor': 'LogProcessor',
    'randomness': Runner.set_randomness,
}
SCALE = ('size', 'epochs')  # options of a CheckedRunner, see pan_mm.config.scale
NEAR = 0.8  # of difflib: a key this like a known one is a slip of the pen


def arguments(kind: Any) -> dict:
    """List the arguments of a class, its parents' included, or of a function.

    Args:
        kind: The class or function, or its name in a registry of MMAction2 or MMEngine.

    Returns:
        dict: Default of each argument, ``inspect.Parameter.empty`` where there is none; empty where
        nothing of this name is known.
    """
    part = next(iter(_parts(kind)), None)
    return dict(_arguments(part)) if part else {}


@functools.lru_cache
def _arguments(part):
    is_class = inspect.isclass(part)
    owners = inspect.getmro(part)[:-1] if is_class else [part]
    functions = [vars(owner).get('__init__') for owner in owners] if is_class else owners
    found: dict = {}
    for function in filter(inspect.isfunction, functions):
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                found.setdefault(name, parameter.default)
    found.pop('self', None)
    return found


def argument(cfg: dict, name: str) -> Any:
    """Look up what a config sets, or else the default of what it names, or else None."""
    default = arguments(cfg.get('type')).get(name)
    return cfg.get(name, None if default is inspect.Parameter.empty else default)


def require_runner(kind: Any) -> type:
    """Look up the class of runner that a config's ``runner_type`` names.

    Raises:
        ConfigError: If it is not registered; names the nearest.
    """
    for cls in _parts(kind):
        return cls
    raise ConfigError(f'runner_type={kind!r}: no such runner; {nearest(kind, RUNNERS.module_dict)}')


def check_settings(cfg: dict, runner: type = Runner) -> None:
    """Refuse types and arguments that nothing takes and that are near one that is taken.

    Others are left to what is built from them, which may hand them on to other libraries.

    Args:
        cfg (dict): Config of a run.
        runner (type): The runner's class. Defaults to MMEngine's ``Runner``.

    Raises:
        ConfigError: Naming each setting by its place in the config, and the nearest right one.
    """
    read = arguments(runner)
    _refuse(
        problem
        for place, part in _values({key: cfg[key] for key in cfg if key in read})
        if isinstance(part, dict) and ('type' in part or place in UNTYPED)
        for problem in _check_part(place, part)
    )


def check_options(cfg: dict, options: Iterable[str], runner: type = Runner) -> None:
    """Refuse options of a command line that change nothing that a run reads.

    Variables of a config have done their work when it is read: where ``data_root`` is also in a
    dataset, only that counts. A variable without such a copy may be read by somebody's own code.

    Args:
        cfg (dict): Config of a run, without the options.
        options (Iterable[str]): Dotted keys.
        runner (type): The runner's class. Defaults to MMEngine's ``Runner``.

    Raises:
        ConfigError: Naming each option, and the settings that were meant.
    """
    read = {*arguments(runner), *getattr(runner, 'own_settings', ())}
    places = dict(_values({key: cfg[key] for key in cfg if key in read}))
    _refuse(
        problem
        for option in options
        if option.partition('.')[0] not in read
        for problem in _check_variable(cfg, places, option, read)
    )


def _refuse(problems: Iterable[str]) -> None:
    problems = list(dict.fromkeys(problems))
    if problems:
        raise ConfigError(f'{len(problems)} setting(s) cannot be used:{listed(problems)}')


def _check_variable(cfg: dict, places: dict, option: str, read: set) -> Iterator[str]:
    first, dot, rest = option.partition('.')
    before = cfg.get(first)
    if before is not None:
        meant = [
            f'{place}{dot}{rest}'
            for place, value in places.items()
            if value == before and (place.endswith(f'.{first}') or isinstance(value, (dict, list)))
        ]
    else:
        meant = difflib.get_close_matches(option, places, 1, NEAR)
        meant = meant or [place for place in places if place.endswith(f'.{option}')]
    if meant or first in SCALE:
        advice = f'set {" and ".join(meant[:3])}' if meant else nearest(option, read)
        yield f'{option}: a run does not read {first!r} of a config; {advice}'


def _values(node: Any, place: str = '') -> Iterator[tuple]:
    """Walk a config: (place, value) of all that is in it."""
    items: Iterable = ()
    if isinstance(node, (dict, list, tuple)):
        items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in items:
        inner = f'{place}.{key}' if place else str(key)
        yield inner, value
        yield from _values(value, inner)


def _check_part(place: str, part: dict) -> Iterator[str]:
    kind = part.get('type', UNTYPED.get(place))
    if not _parts(kind):
        names = {name for registry in REGISTRIES for name in registry.module_dict}
        if isinstance(kind, str) and difflib.get_close_matches(kind, names, 1, NEAR):
            yield f'{place}.type: {kind!r} is not registered; {nearest(kind, names)}'
        return
    hints = hints_of(_parts(kind)[0])
    for name, value in part.items():
        if fault := fault_of(name, value, hints.get(name)):
            yield f'{place}.{name}: {fault}'
    if part.get('with_cp') and part.get('depth') in (18, 34):  # MMAction2 only asserts it
        yield f'{place}.with_cp: blocks of depth {part["depth"]} cannot recompute; leave it out'
    taken = {name for each in _parts(kind) for name in arguments(each)}
    for name in part.keys() - taken - {'type'}:
        if difflib.get_close_matches(name, taken, 1, NEAR):
            cls = getattr(_parts(kind)[0], '__name__', kind)
            yield f'{place}.{name}: {cls} has no argument {name!r}; {nearest(name, taken)}'


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
