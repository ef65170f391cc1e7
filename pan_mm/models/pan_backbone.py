"""PA in front of a 2D backbone: the three streams of PAN (paper section 3.2)."""

from typing import Optional

import torch
from mmaction.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor

from .backbone_2d import build_backbone
from .pretrained import load_pretrained
from .stem import replace_stem
from .weight_layouts import adapt_backbone, adapt_recognizer

STREAMS = ('rgb', 'pa', 'lite', 'attention')


@MODELS.register_module()
class PANBackbone(BaseModule):
    """Turns segments of adjacent frames into one feature map per segment.

    ::

        (N·T·m, 3, H, W) ─► (N·T, m, 3, H, W)
              │
              ├─ first frame ── 'rgb',  3 channels ─────┐
              ├─ PA maps ────── 'pa',   m − 1 channels ─┼─► 2D backbone ─► (N·T, C, h, w)
              ├─ both ───────── 'lite', m + 2 channels ─┤
              └─ both ───── 'attention', 3 channels, ───┘
                            weighed by the maps

    Args:
        backbone (dict): Config of a 2D backbone of MMAction2, timm, torchvision or mmpretrain, see
            :func:`pan_mm.models.backbone_2d.build_backbone`. Its first convolution gets the
            channels of the stream, and ImageNet weights inflated to them.
        stream (str): 'rgb', 'pa', 'lite', or 'attention', in which PA weighs the features of the
            first convolution (variant e2 of the paper's ablation). Defaults to 'lite'.
        num_segments (int): T, segments of a clip. Defaults to 8.
        clip_len (int): m, adjacent frames of a segment. Defaults to 4.
        persistence (dict): Config of PA, the default, or of another motion cue
            (:mod:`pan_mm.models.motion_cues`).
        inflation (str): How filters for RGB become those of 'lite': 'mean' as in the paper,
            'keep-rgb' or 'zero-motion', see :func:`pan_mm.models.weight_layouts.inflate`.
        init_cfg (dict, optional): Initialization config of MMEngine.

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
        persistence: Optional[dict] = None,
        inflation: str = 'mean',
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if stream not in STREAMS:
            raise ValueError(f'stream must be one of {", ".join(STREAMS)}, got {stream!r}')
        if stream != 'rgb' and clip_len < 2:
            raise ValueError(f'stream {stream!r} needs clip_len >= 2, got {clip_len}')
        self.stream, self.num_segments, self.clip_len = stream, num_segments, clip_len
        in_channels = 3
        if stream != 'rgb':
            self.persistence = MODELS.build(persistence or dict(type='PersistenceOfAppearance'))
            num_maps = (clip_len - 1) * getattr(self.persistence, 'maps_per_pair', 1)
            in_channels = {'pa': num_maps, 'lite': 3 + num_maps}.get(stream, 3)
        self.backbone, self.pretrained = build_backbone(backbone, num_segments)
        self.stem_name = replace_stem(self.backbone, in_channels, stream == 'attention')
        adapt_backbone(self.backbone, self.stem_name, inflation if stream == 'lite' else 'mean')
        adapt_recognizer(self)

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
