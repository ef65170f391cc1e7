"""Probabilities that mean what they say, and a bound below which a model is unsure."""

from typing import NamedTuple, Optional

from torch import Tensor

from pan_mm.utils.errors import CheckpointError


class Calibration(NamedTuple):
    """Temperature and threshold, fitted on videos that the model was not trained on.

    Args:
        temperature (float): Divides logits before the softmax (Guo et al., "On Calibration of
            Modern Neural Networks", 2017). 1 changes nothing.
        threshold (float): Probability below which the most probable class is not to be relied on.
            Defaults to 0: none.
    """

    temperature: float = 1.0
    threshold: float = 0.0

    def __call__(self, probabilities: Tensor) -> Tensor:
        """Calibrate probabilities (…, num_classes), such as those of a softmax."""
        if self.temperature == 1:
            return probabilities
        powers = probabilities.clamp(min=1e-12) ** (1 / self.temperature)
        return powers / powers.sum(dim=-1, keepdim=True)


def read_calibration(dataset_meta: Optional[dict], source: str) -> Calibration:
    """Take the calibration from what a checkpoint says of its dataset; none where there is none.

    Raises:
        CheckpointError: If it is not two numbers in their ranges.
    """
    found = (dataset_meta or {}).get('calibration')
    if found is None:
        return Calibration()
    try:
        own = Calibration(**{key: float(value) for key, value in found.items()})
    except (AttributeError, TypeError, ValueError) as error:
        raise CheckpointError(f'{source}: its calibration is {found!r}') from error
    if not (0.01 <= own.temperature <= 100 and 0 <= own.threshold <= 1):
        raise CheckpointError(f'{source}: its calibration {found} is out of range')
    return own
