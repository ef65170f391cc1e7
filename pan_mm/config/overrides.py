"""What a config sets, held against the signatures of what is built from it."""

import difflib
import functools
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import mmaction.registry
import mmengine.registry
from mmaction.registry import RUNNERS
from mmengine.optim import build_optim_wrapper
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
    'train_dataloader': DataLoader,
    'val_dataloader': DataLoader,
    'test_dataloader': DataLoader,
    'optim_wrapper': 'OptimWrapper',
    'val_cfg': 'ValLoop',
    'test_cfg': 'TestLoop',
    'log_processor': 'LogProcessor',
    'randomness': Runner.set_randomness,
}

_GATHERED = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD


def arguments(kind: Any) -> dict:
    """Arguments that a class or function names, with those that it passes on to its parents.

    Args:
        kind: A class, a function, or the name of one in a registry of MMAction2 or MMEngine.

    Returns:
        dict: Default of each argument, ``inspect.Parameter.empty`` where there is none; empty where
        nothing of this name is known.
    """
    return next((_arguments(cls)[0] for cls in _named(kind)), {})


def argument(cfg: dict, name: str) -> Any:
    """What a config sets, or else the default of what it names; None if there is neither."""
    default = arguments(cfg.get('type')).get(name)
    return cfg.get(name, None if default is inspect.Parameter.empty else default)


def require_runner(kind: Any) -> type:
    """The class of runner that a config's ``runner_type`` names.

    Raises:
        ConfigError: If it is not registered; names the nearest.
    """
    for cls in _named(kind):
        return cls
    raise ConfigError(f'runner_type={kind!r}: no such runner; {nearest(kind, RUNNERS.module_dict)}')


def check_settings(cfg: dict, runner: type = Runner) -> None:
    """Refuse types and arguments that nothing of MMAction2 and MMEngine has.

    A type that no registry knows is named only where a known one is near, as a part may hand
    configs to other libraries.

    Args:
        cfg (dict): Config of a run.
        runner (type): The runner's class. Defaults to MMEngine's ``Runner``.

    Raises:
        ConfigError: Naming each setting by its place in the config, and the nearest right one.
    """
    read = _read_by(runner)
    _refuse(
        problem
        for key, value in cfg.items()
        if key in read
        for place, part in _values(value, key)
        if isinstance(part, dict) and ('type' in part or place in UNTYPED)
        for problem in _check_part(place, part)
    )


def check_options(cfg: dict, options: Iterable[str], runner: type = Runner) -> None:
    """Refuse options of a command line that change nothing that a run reads, or have no place.

    Variables of a config have done their work when it is read: where ``data_root`` is also in a
    dataset, only that counts. A variable without such a copy may be read by somebody's own code.

    Args:
        cfg (dict): Config of a run, without the options.
        options (Iterable[str]): Dotted keys.
        runner (type): The runner's class. Defaults to MMEngine's ``Runner``.

    Raises:
        ConfigError: Naming each option, and the settings that were meant.
    """
    _refuse(_check_options(cfg, options, _read_by(runner)))


def _refuse(problems: Iterable[str]) -> None:
    problems = list(dict.fromkeys(problems))
    if problems:
        raise ConfigError(f'{len(problems)} setting(s) cannot be used:{listed(problems)}')


def _check_options(cfg: dict, options: Iterable[str], read: set) -> Iterator[str]:
    settings = (_values(cfg[key], key) for key in cfg if key in read)
    inside = {place: value for values in settings for place, value in values}
    for option in options:
        first, dot, rest = option.partition('.')
        if first in read:
            yield from _check_place(inside, option, options)
            continue
        before = cfg.get(first)
        copies = [
            f'{place}{dot}{rest}'
            for place, value in inside.items()
            if value == before and (place.endswith(f'.{first}') or isinstance(value, (dict, list)))
        ]
        if before is not None and not copies:
            continue
        near = difflib.get_close_matches(option, inside, 1, 0.85)
        for ending in (option, option.rpartition('.')[2]):
            copies = copies or near or [place for place in inside if place.endswith(f'.{ending}')]
        meant = f'set {" and ".join(copies[:3])}' if copies else nearest(option, read)
        yield f'{option}: a run does not read {first!r} of a config; {meant}'


def _check_place(inside: dict, option: str, options: Iterable[str]) -> Iterator[str]:
    """Whether what holds the setting can hold one; MMEngine ends in a TypeError where it cannot."""
    place = option.rpartition('.')[0]
    while place and place not in inside:
        place = place.rpartition('.')[0]
    delete = f'{place}._delete_'
    if place and not isinstance(inside[place], (dict, list, tuple)) and delete not in options:
        yield f'{option}: {place} is {inside[place]!r}, not a dict; add {delete}=True'


def _values(node: Any, place: str) -> Iterator[tuple]:
    """(place, value) of a config and all that is in it."""
    yield place, node
    items: Iterable = ()
    if isinstance(node, (dict, list, tuple)):
        items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in items:
        yield from _values(value, f'{place}.{key}')


def _check_part(place: str, part: dict) -> Iterator[str]:
    kind = part.get('type', UNTYPED.get(place))
    classes = _named(kind)
    if not classes and isinstance(kind, str) and not re.search('[./]', kind):
        if difflib.get_close_matches(kind, _names(), 1, 0.85):
            yield f'{place}.type: {kind!r} is not registered; {nearest(kind, _names())}'
        return
    known = [_arguments(cls) for cls in classes]
    if not known or not all(complete for _, complete in known):
        return
    taken = {name for names, _ in known for name in names}
    for name in part:
        if name not in taken and name not in _taken_on_the_way():
            cls = getattr(classes[0], '__name__', kind)
            yield f'{place}.{name}: {cls} has no argument {name!r}; {nearest(name, taken)}'


def _named(kind: Any) -> list:
    if not isinstance(kind, str):
        return [kind] if callable(kind) else []
    if '.' in kind:  # from another library, which may be missing
        return []
    found = []
    for registry in REGISTRIES:  # registry.get() would look for a module of each name it lacks
        try:
            registry.import_from_location()
        except ImportError:  # MMAction2's EVALUATOR names a module that does not exist
            continue
        cls = registry.module_dict.get(kind)
        found += [cls] * (cls is not None and cls not in found)
    return found


@functools.lru_cache
def _names() -> set:
    return {name for registry in REGISTRIES for name in registry.module_dict}


@functools.lru_cache
def _taken_on_the_way() -> set:
    """Keys of a part that what builds it takes out, as the sources say."""
    builders = (Runner, build_optim_wrapper, *{registry.build_func for registry in REGISTRIES})
    sources = ''.join(map(inspect.getsource, builders))
    return {'type', *re.findall(r"\.pop\(\s*'(\w+)'", sources)}


def _read_by(runner: type) -> set:
    """Keys of a whole config that a run reads, as signature and sources say."""
    own = [cls for cls in inspect.getmro(runner) if cls is not object]
    functions = {registry.build_func for registry in REGISTRIES}
    sources = ''.join(
        inspect.getsource(sys.modules[part.__module__]) for part in (*own, *functions)
    )
    return {
        'preflight',
        *getattr(runner, 'own_settings', ()),
        *_arguments(runner)[0],
        *re.findall(r"\b(?:cfg|args)\.get\(\s*'(\w+)'", sources),
    }


@functools.lru_cache
def _arguments(kind: Callable) -> tuple:
    """Arguments by name with their defaults, and whether there are no others."""
    found: dict = {}
    for owner in inspect.getmro(kind)[:-1] if inspect.isclass(kind) else (kind,):
        function = vars(owner).get('__init__') if inspect.isclass(kind) else owner
        if function is None:
            continue
        if str(getattr(function, '__module__', '')).startswith('torch.nn'):
            return found, False  # for layers, whose builders take keys of their own
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):  # not written in Python
            return found, False
        found = {p.name: p.default for p in parameters if p.kind not in _GATHERED} | found
        rest = [p.name for p in parameters if p.kind is p.VAR_KEYWORD]
        if not rest:
            found.pop('self', None)
            return found, True
        if not inspect.isclass(kind) or not _passes_on(function, rest[0]):
            return found, False
    return found, not found


def _passes_on(init: Callable, rest: str) -> bool:
    """Whether all that it does with its ``**kwargs`` is to give them to its parent."""
    try:
        source = inspect.getsource(init)
    except OSError:
        return False
    source = source.replace(inspect.getdoc(init) or '', '')
    handed = re.search(rf'__init__\([^()]*\*\*{rest}', source)
    return bool(handed) and len(re.findall(rf'\b{rest}\b', source)) == 2
