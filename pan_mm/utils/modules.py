"""Parts of a network, by name or inside what wraps them."""

from mmengine.model import is_model_wrapper
from torch import nn


def replace_submodule(module: nn.Module, name: str, new: nn.Module) -> None:
    """Put ``new`` at ``name`` in ``module``, as ``set_submodule`` of torch 2.5 does."""
    parent, _, attribute = name.rpartition('.')
    setattr(module.get_submodule(parent), attribute, new)


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model itself where a runner has wrapped it for several processes."""
    return model.module if is_model_wrapper(model) else model
