"""Parts of a network by name."""

from torch import nn


def replace_submodule(module: nn.Module, name: str, new: nn.Module) -> None:
    """Put ``new`` at ``name`` in ``module``, as ``set_submodule`` of torch 2.5 does."""
    parent, _, attribute = name.rpartition('.')
    setattr(module.get_submodule(parent), attribute, new)
