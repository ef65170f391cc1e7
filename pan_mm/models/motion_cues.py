"""Motion cues beside PA, for ``PANBackbone``.

Each module here fits ``PANBackbone(motion_cue=dict(type=...))``: it maps m adjacent frames,
(N·T, m, C, H, W), to ``maps_per_pair`` maps of each pair of adjacent frames, pair after pair:
(N·T, (m − 1)·maps_per_pair, H, W). The paper has no other cue than PA.
"""

from mmaction.registry import MODELS
from torch import Tensor, nn


def adjacent_pairs(frames: Tensor) -> tuple:
    """Earlier and later frames of each pair, both (N·T, m − 1, C, H, W).

    Args:
        frames (Tensor): Normalized frames, shape (N·T, m, C, H, W), m >= 2.

    Raises:
        ValueError: If the shape or the dtype is another one.
    """
    if frames.ndim != 5 or frames.shape[1] < 2:
        raise ValueError(
            f'frames must have the shape (B, m, C, H, W) with m >= 2, got {tuple(frames.shape)}'
        )
    if not frames.is_floating_point():
        raise ValueError(f'frames must be normalized and floating point, got {frames.dtype}')
    return frames[:, :-1], frames[:, 1:]


@MODELS.register_module()
class FrameDifference(nn.Module):
    """Differences of adjacent frames, the later minus the earlier: a cue without parameters.

    Args:
        absolute (bool): Whether the sign is dropped. Defaults to True.
        gray (bool): Whether the mean over the channels comes first, so that a pair has one map, as
            with PA, instead of one of each channel. Defaults to True.
        in_channels (int): Channels of a frame. Defaults to 3.
    """

    def __init__(self, absolute: bool = True, gray: bool = True, in_channels: int = 3) -> None:
        super().__init__()
        self.absolute = absolute
        self.gray = gray
        self.maps_per_pair = 1 if gray else in_channels

    def forward(self, frames: Tensor) -> Tensor:
        """Subtract.

        Args:
            frames (Tensor): Normalized frames, shape (N·T, m, C, H, W), m >= 2.

        Returns:
            Tensor: Shape (N·T, (m − 1)·maps_per_pair, H, W), the dtype of ``frames``.

        Raises:
            ValueError: If the shape or the dtype is another one.
        """
        earlier, later = adjacent_pairs(frames)
        maps = later - earlier
        if self.gray:
            maps = maps.mean(dim=2, keepdim=True)
        maps = maps.flatten(1, 2)  # (N·T, (m−1)·k, H, W)
        return maps.abs() if self.absolute else maps
