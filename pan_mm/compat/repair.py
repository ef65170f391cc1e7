"""Repairs that wait for the import of the module that they repair."""

import importlib
import importlib.abc
import importlib.util
import inspect
import sys
import warnings
from collections import defaultdict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Optional

Status = namedtuple('Status', 'name state reason until')


@dataclass
class Repair:
    """A repair of one upstream fault.

    Args:
        name (str): Short name, unique.
        reason (str): The fault, with its upstream issue or place.
        until (str): When the repair can go.
        needed (Callable): Looks for the fault in the installed stack; gets the module.
        apply (Callable): Fixes it; gets the module.
        module (str, optional): Module to wait for. None: probe and repair at once.
    """

    name: str
    reason: str
    until: str
    needed: Callable[[Optional[ModuleType]], bool]
    apply: Callable[[Optional[ModuleType]], None]
    module: Optional[str] = None
    state: str = field(default='waiting', init=False)

    def run(self, module: Optional[ModuleType] = None) -> None:
        if self.state != 'waiting':
            return
        try:
            needed = self.needed(module)
        except Exception as error:
            # Upstream must stay importable even if it has changed this much.
            warnings.warn(
                f'pan_mm: cannot tell whether {self.name} is needed: {error!r}', stacklevel=2
            )
            needed = False
        if needed:
            self.apply(module)
        self.state = 'active' if needed else 'not needed'

    def status(self) -> Status:
        if self.state == 'waiting' and importlib.util.find_spec(self.module.partition('.')[0]):
            importlib.import_module(self.module)
        return Status(self.name, self.state, self.reason, self.until)


class _AfterImport(importlib.abc.MetaPathFinder):
    """Calls back right after a module's own code has run."""

    def __init__(self):
        self.callbacks = defaultdict(list)
        self._searching = set()

    def find_spec(self, fullname, path=None, target=None):
        if fullname not in self.callbacks or fullname in self._searching:
            return None
        self._searching.add(fullname)
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._searching.discard(fullname)
        if spec is None or spec.loader is None:
            return spec
        exec_module = spec.loader.exec_module

        def exec_then_call(module):
            exec_module(module)
            for callback in self.callbacks.pop(fullname, ()):
                callback(module)

        spec.loader.exec_module = exec_then_call
        return spec


_after_import = _AfterImport()


def mentions(function: Callable, text: str) -> bool:
    """Tell whether the source of an upstream function holds a text, with one space for any."""
    return text in ' '.join(inspect.getsource(function).split())


def install(repair: Repair) -> None:
    """Run ``repair`` now, or as soon as its module is imported."""
    if repair.state != 'waiting':
        return
    if repair.module is None:
        repair.run()
    elif repair.module in sys.modules:
        repair.run(sys.modules[repair.module])
    elif repair.run not in _after_import.callbacks[repair.module]:
        if _after_import not in sys.meta_path:
            sys.meta_path.insert(0, _after_import)
        _after_import.callbacks[repair.module].append(repair.run)
