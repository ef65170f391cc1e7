"""PA in front of a 2D backbone: the three streams of PAN (paper section 3.2)."""

from typing import Optional

import torch
from mmaction.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor

from .backbone_2d import build_backbone, replace_stem
from .weight_layouts import adapt_loading, load_pretrained

STREAMS = ('rgb', 'pa', 'lite')


@MODELS.register_module()
class PANBackbone(BaseModule):
    """Turns segments of adjacent frames into one feature map per segment.

    ::

        (N·T·m, 3, H, W) ─► (N·T, m, 3, H, W)
              │
              ├─ first frame ── 'rgb',  3 channels ─────┐
              ├─ PA maps ────── 'pa',   m − 1 channels ─┼─► 2D backbone ─► (N·T, C, h, w)
              └─ both ───────── 'lite', m + 2 channels ─┘

    Args:
        backbone (dict): Config of a 2D backbone of MMAction2, timm, torchvision or mmpretrain, see
            :func:`pan_mm.models.backbone_2d.build_backbone`. Its first convolution gets the
            channels of the stream, and ImageNet weights inflated to them.
        stream (str): 'rgb', 'pa' or 'lite'. Defaults to 'lite'.
        num_segments (int): T, segments of a clip. Defaults to 8.
        clip_len (int): m, adjacent frames of a segment. Defaults to 4.
        motion_cue (dict, optional): Config of PA, the default, or of another motion cue
            (:mod:`pan_mm.models.motion_cues`).
        inflation (str): Inflation of RGB filters for 'lite': 'mean' as in the paper,
            'keep-rgb' or 'zero-motion', see :func:`pan_mm.models.weight_layouts.inflate`.
        init_cfg (dict, optional): Initialization config of MMEngine.
        persistence (dict, optional): Former name of ``motion_cue``.

    Raises:
        ValueError: If an argument is unknown, ``clip_len`` is below 2 with PA, or the backbone
            does not fit.
    """

    def __init__(
        self,
        backbone: dict,
        stream: str = 'lite',
        num_segments: int = 8,
        clip_len: int = 4,
        motion_cue: Optional[dict] = None,
        inflation: str = 'mean',
        init_cfg: Optional[dict] = None,
        persistence: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if stream not in STREAMS:
            hint = '; see projects/pa_attention' if stream == 'attention' else ''
            raise ValueError(f'stream must be one of {", ".join(STREAMS)}, got {stream!r}{hint}')
        if motion_cue and persistence:
            raise ValueError('persistence is the former name of motion_cue; give one of them')
        if stream != 'rgb' and clip_len < 2:
            raise ValueError(f'stream {stream!r} needs clip_len >= 2, got {clip_len}')
        self.stream, self.num_segments, self.clip_len = stream, num_segments, clip_len
        in_channels = 3
        if stream != 'rgb':
            cue = motion_cue or persistence or dict(type='PersistenceOfAppearance')
            self.persistence = MODELS.build(cue)  # checkpoints have it by this name
            num_maps = (clip_len - 1) * getattr(self.persistence, 'maps_per_pair', 1)
            in_channels = num_maps if stream == 'pa' else 3 + num_maps
        self.backbone, self.pretrained = build_backbone(backbone, num_segments)
        self.stem_name = replace_stem(self.backbone, in_channels)
        adapt_loading(self, inflation if stream == 'lite' else 'mean')

    def init_weights(self) -> None:
        """Initialize from scratch, then load the 2D backbone's pretrained weights if given."""
        super().init_weights()
        if self.pretrained:
            load_pretrained(self.backbone, self.pretrained)

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps (N·T, C, h, w) of normalized frames in temporal order, (N·T·m, 3, H, W).

        Raises:
            ValueError: If the number of frames is not a multiple of ``clip_len``.
        """
        if x.shape[0] % self.clip_len:
            raise ValueError(
                f'{x.shape[0]} frames are not a multiple of clip_len={self.clip_len}; set clip_len '
                'of PANSampleFrames and of PANBackbone to the same number'
            )
        segments = x.unflatten(0, (-1, self.clip_len))  # (N·T, m, 3, H, W)
        if self.stream == 'rgb':
            return self.backbone(segments[:, 0])
        maps = self.persistence(segments)  # (N·T, m−1, H, W)
        if self.stream != 'pa':
            maps = torch.cat([segments[:, 0], maps], dim=1)  # (N·T, m+2, H, W)
        return self.backbone(maps)
