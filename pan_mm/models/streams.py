"""Finding the PAN recognizers inside a model."""

from torch import nn

from .pan_backbone import PANBackbone


def recognizers_of(model: nn.Module) -> dict:
    """The recognizers of a ``PANEnsemble``, by name of the stream; any other model as ``''``."""
    return dict(model.streams.items()) if hasattr(model, 'streams') else {'': model}


def streams_of(model: nn.Module) -> dict:
    """The recognizers with a ``PANBackbone`` in a model.

    Args:
        model (nn.Module): Any recognizer, or a ``PANEnsemble``.

    Returns:
        dict[str, nn.Module]: By name of the stream: the ensemble's name for it, or the one
        backbone's ``stream``. Empty for a recognizer without ``PANBackbone``.
    """
    return {
        name or recognizer.backbone.stream: recognizer
        for name, recognizer in recognizers_of(model).items()
        if isinstance(getattr(recognizer, 'backbone', None), PANBackbone)
    }
