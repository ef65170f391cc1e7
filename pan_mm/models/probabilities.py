"""From the logits of a recognizer to probabilities."""

from torch import Tensor, nn


def to_probabilities(logits: Tensor, model: nn.Module) -> Tensor:
    """Probabilities of the classes: they add up to 1, unless a video may have several.

    Args:
        logits (Tensor): Shape (…, num_classes).
        model (nn.Module): Where one of its heads is for several labels of a video
            (``multi_class=True``), each class has a probability of its own.

    Returns:
        Tensor: The same shape.
    """
    several = any(getattr(module, 'multi_class', False) for module in model.modules())
    return logits.sigmoid() if several else logits.softmax(dim=-1)
