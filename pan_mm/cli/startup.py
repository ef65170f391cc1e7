"""Start a command without FSDP and ``scipy.stats``, a third of the time until it acts."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

# Module: the class that its importer takes from it.
CLASSES = {
    'mmengine.model.wrappers.fully_sharded_distributed': 'MMFullyShardedDataParallel',
    'mmengine._strategy.fsdp': 'FSDPStrategy',
    'torch.distributed.optim.named_optimizer': '_NamedOptimizer',
}


def _mode(*args, **kwargs) -> Any:
    """Call ``scipy.stats.mode``, which transforms of skeletons take."""
    return importlib.import_module('scipy.stats').mode(*args, **kwargs)


@contextmanager
def lean_imports() -> Iterator[None]:
    """Replace unused modules by stand-ins unless they are imported; not for trainings."""
    added = {}
    for module, name, value in (
        *((module, name, None) for module, name in CLASSES.items()),
        ('scipy.stats', 'mode', _mode),
    ):
        if module not in sys.modules:
            added[module] = sys.modules[module] = ModuleType(module)
            setattr(added[module], name, value)
    try:
        yield
    finally:
        for module, stand_in in added.items():
            if sys.modules.get(module) is stand_in:
                del sys.modules[module]
