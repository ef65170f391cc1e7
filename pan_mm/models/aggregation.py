"""VAP: pooling of segment features over various timescales (paper section 3.3)."""

import torch
from mmaction.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class VariousTimescaleAggregation(nn.Module):
    """Weighs T segment features, max-pooled at log2(T) timescales, into one.

    Level i has the timescale s = 2 ** i: each of its s vectors is the maximum of the T / s
    features that lie s segments apart. A small squeeze-and-excite network over their channel
    means weighs the T - 1 vectors of all levels, which are then summed.

    Args:
        num_segments (int): T, a power of two, at least 2. (For other T the levels do not
            divide evenly; the authors' code crashes or drops a level there.)

    Raises:
        ValueError: If ``num_segments`` is not a power of two.
    """

    def __init__(self, num_segments: int) -> None:
        super().__init__()
        if num_segments < 2 or num_segments & (num_segments - 1):
            raise ValueError(
                f'num_segments must be a power of two (2, 4, 8, 16, ...), got {num_segments}: '
                'its timescales 1, 2, 4, ... must divide it'
            )
        self.num_segments = num_segments
        num_vectors = num_segments - 1
        self.excitation = nn.Sequential(
            nn.Linear(num_vectors, 4 * num_vectors, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(4 * num_vectors, num_vectors, bias=False),
        )
        for linear in (self.excitation[0], self.excitation[2]):
            nn.init.normal_(linear.weight, std=0.001)

    def pool(self, x: Tensor) -> Tensor:
        """Max-pool (N, T, C) at each timescale into (N, T - 1, C), coarsest level first."""
        timescales = (2**i for i in range(self.num_segments.bit_length() - 1))
        # (N, T, C) -> (N, T/s, s, C) -> (N, s, C)
        return torch.cat([x.unflatten(1, (-1, s)).amax(dim=1) for s in timescales], dim=1)

    def weigh(self, vectors: Tensor) -> Tensor:
        """Weights (N, T - 1) of the pooled vectors (N, T - 1, C); each row sums to one."""
        return self.excitation(vectors.mean(dim=2)).softmax(dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Aggregate segment features (N, T, C) into (N, C)."""
        vectors = self.pool(x)  # (N, T−1, C)
        weights = self.weigh(vectors)  # (N, T−1)
        return (weights.unsqueeze(2) * vectors).sum(dim=1)
