"""Networks inside what wraps them."""

from mmengine.model import is_model_wrapper
from torch import nn


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model itself where a runner has wrapped it for several processes."""
    return model.module if is_model_wrapper(model) else model
