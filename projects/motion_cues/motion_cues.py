"""Rivals of PA that see the same frames, and PA with more around it."""

from collections.abc import Sequence
from typing import Optional

import torch
from mmaction.registry import MODELS
from torch import Tensor, nn
from torch.nn.functional import conv2d

from pan_mm.models import PersistenceOfAppearance
from pan_mm.models.motion_cues import adjacent_pairs

COMPRESSIONS = {
    'sqrt': lambda x: (x + 1e-4).sqrt() - 1e-2,  # its slope at zero is 50, not infinite
    'log': torch.log1p,
}


@MODELS.register_module(force=True)  # in place of the pointer to here
class FrameStack(nn.Module):
    """The later frame of each pair as it is; in the stream 'lite', all m raw frames, stacked.

    Args:
        in_channels (int): Channels of a frame. Defaults to 3.
    """

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        self.maps_per_pair = in_channels

    def forward(self, frames: Tensor) -> Tensor:
        """Stack (N·T, m, C, H, W) without the first frame: (N·T, (m − 1)·C, H, W).

        Raises:
            ValueError: As ``FrameDifference.forward``.
        """
        return adjacent_pairs(frames)[1].flatten(1, 2)


@MODELS.register_module()
class SignedPersistence(PersistenceOfAppearance):
    """PA with the sign that the mean of its feature differences has, the later minus the earlier.

    PA shows how much a place has changed, and not whether it became brighter or darker. With
    ``init_delta=1`` and a small ``init_std`` it starts as the signed size of color differences.
    Takes PA's arguments.
    """

    def forward(self, frames: Tensor) -> Tensor:
        """Maps (N·T, m - 1, H, W) of normalized frames (N·T, m, C, H, W).

        Raises:
            ValueError: As ``FrameDifference.forward``.
        """
        earlier, later = adjacent_pairs(frames)
        mean_filter = self.conv.weight.detach().mean(dim=0, keepdim=True)  # a sign has no slope
        differences = (later - earlier).flatten(0, 1).to(mean_filter.dtype)
        means = conv2d(differences, mean_filter, padding='same')  # (N·T·(m − 1), 1, H, W)
        signs = means.sign().unflatten(0, (len(frames), -1)).squeeze(2)
        return super().forward(frames) * signs.to(frames.dtype)


@MODELS.register_module(force=True)  # in place of the pointer to here
class MotionCues(nn.Module):
    """Several cues side by side, compressed and normalized.

    PA at two scales of filters, in logarithms, each to a standard deviation of one:

    .. code:: python

        motion_cue = dict(
            type='MotionCues',
            cues=[dict(type='PersistenceOfAppearance', kernel_size=k) for k in (3, 7)],
            compression='log',
            norm_scale=1.0,
        )

    Args:
        cues (Sequence[dict]): Configs of cues.
        compression (str, optional): 'sqrt' or 'log' (of 1 + x) of the maps' sizes, whose signs
            stay. Defaults to None.
        norm_scale (float, optional): Adds a batch norm, whose weight starts from this value. The
            m − 1 maps of a cue share it. Defaults to None.

    Raises:
        ValueError: If there is no cue, or ``compression`` is unknown.
    """

    def __init__(
        self,
        cues: Sequence[dict],
        compression: Optional[str] = None,
        norm_scale: Optional[float] = None,
    ) -> None:
        super().__init__()
        if not cues:
            raise ValueError('cues must name at least one cue')
        if compression is not None and compression not in COMPRESSIONS:
            known = ', '.join(COMPRESSIONS)
            raise ValueError(f'compression must be one of {known}, or None, got {compression!r}')
        self.cues = nn.ModuleList(MODELS.build(cue) for cue in cues)
        self.maps_per_pair = sum(getattr(cue, 'maps_per_pair', 1) for cue in self.cues)
        self.compression = compression
        self.norm = None
        if norm_scale is not None:
            self.norm = nn.BatchNorm2d(self.maps_per_pair)
            nn.init.constant_(self.norm.weight, norm_scale)

    def forward(self, frames: Tensor) -> Tensor:
        """Compute the maps.

        Args:
            frames (Tensor): As the cues take them, shape (N·T, m, C, H, W).

        Returns:
            Tensor: Shape (N·T, (m − 1)·maps_per_pair, H, W).
        """
        pairs = frames.shape[1] - 1
        maps = [cue(frames).unflatten(1, (pairs, -1)) for cue in self.cues]
        maps = torch.cat(maps, dim=2).flatten(0, 1)  # (N·T·(m−1), k, H, W)
        if self.compression:
            maps = maps.sign() * COMPRESSIONS[self.compression](maps.abs())
        if self.norm is not None:
            maps = self.norm(maps)
        return maps.unflatten(0, (-1, pairs)).flatten(1, 2)
