"""PA weighs the features of a frame: variant e2 of the paper's ablation."""

from typing import Optional

import torch
from mmaction.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from pan_mm.models import PANBackbone


class PAAttention(nn.Module):
    """Lets a stem's features weigh more where something moves.

    ``stem(frame) · (1 + strength · tanh(mean of the PA maps))``. The paper leaves the form open.
    In this one what stands still keeps its features, so that RGB weights can be loaded as they
    are; ``strength`` is learned.

    Args:
        net (nn.Conv2d): Takes the frame.
    """

    def __init__(self, net: nn.Conv2d) -> None:
        super().__init__()
        self.net = net
        self.strength = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """Convolve and weigh.

        Args:
            x (Tensor): A frame and its PA maps, (N·T, in_channels + m − 1, H, W).

        Returns:
            Tensor: Shape (N·T, out_channels, h, w).
        """
        features = self.net(x[:, : self.net.in_channels])
        attention = x[:, self.net.in_channels :].mean(dim=1, keepdim=True)  # (N·T, 1, H, W)
        attention = F.avg_pool2d(attention, self.net.stride, ceil_mode=True)
        height, width = features.shape[2:]  # ⌈H / stride⌉, or ⌊H / stride⌋ without padding
        return features * (1 + self.strength * attention[..., :height, :width].tanh())


@MODELS.register_module()
class AttentionPANBackbone(PANBackbone):
    """A :class:`PANBackbone` with one stream more, 'attention'.

    Args:
        backbone (dict): Config of a :class:`PANBackbone`.
        stream (str): 'attention', the only one.
        num_segments (int): T, segments of a clip. Defaults to 8.
        clip_len (int): m, adjacent frames of a segment, at least 2. Defaults to 4.
        motion_cue (dict, optional): Config of PA, the default, or of another motion cue.
        init_cfg (dict, optional): Initialization config of MMEngine.

    Raises:
        ValueError: If ``stream`` is another one, or as :class:`PANBackbone` says.
    """

    def __init__(
        self,
        backbone: dict,
        stream: str = 'attention',
        num_segments: int = 8,
        clip_len: int = 4,
        motion_cue: Optional[dict] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        if stream != 'attention' or clip_len < 2:
            raise ValueError(
                "AttentionPANBackbone needs stream='attention' and clip_len >= 2, got "
                f'{stream!r} and {clip_len}'
            )
        super().__init__(backbone, 'rgb', num_segments, clip_len, init_cfg=init_cfg)
        self.stream = stream
        self.persistence = MODELS.build(motion_cue or dict(type='PersistenceOfAppearance'))
        stem = self.backbone.get_submodule(self.stem_name)
        self.backbone.set_submodule(self.stem_name, PAAttention(stem))
        self.stem_name += '.net'
