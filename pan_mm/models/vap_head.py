"""The classification head of PAN."""

from typing import Optional

from mmaction.models.heads import BaseHead
from mmaction.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class VAPHead(BaseHead):
    """Spatial average pooling, VAP over the segments, dropout, linear classifier.

    Works behind any 2D backbone of ``Recognizer2D`` that yields one feature map per segment.

    Args:
        num_classes (int): Number of classes.
        in_channels (int): C, channels of the backbone's feature map.
        num_segments (int): T, a power of two. Defaults to 8.
        dropout_ratio (float): Dropout before the classifier. Defaults to 0.5.
        init_std (float): Standard deviation that the classifier starts from. Defaults to 0.001.
        aggregation (dict, optional): Config of what pools the segments, (N, T, C) to (N, C).
            Defaults to ``dict(type='VariousTimescaleAggregation')``.
        **kwargs: Arguments of :class:`mmaction.models.heads.BaseHead`.

    Raises:
        ValueError: If ``num_segments`` is not a power of two.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        num_segments: int = 8,
        dropout_ratio: float = 0.5,
        init_std: float = 0.001,
        aggregation: Optional[dict] = None,
        **kwargs,
    ) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        self.num_segments = num_segments
        aggregation = aggregation or dict(type='VariousTimescaleAggregation')
        self.aggregation = MODELS.build(dict(aggregation, num_segments=num_segments))
        self.dropout = nn.Dropout(dropout_ratio)
        self.fc_cls = nn.Linear(in_channels, num_classes)
        nn.init.normal_(self.fc_cls.weight, std=init_std)
        nn.init.zeros_(self.fc_cls.bias)

    def forward(self, x: Tensor, num_segs: Optional[int] = None, **kwargs) -> Tensor:
        """Classify the segments' features.

        Args:
            x (Tensor): Shape (N·T, C, h, w); fully convolutional testing gives (N, C, T, h, w).
            num_segs (int, optional): Frames per video, from ``Recognizer2D``; T differs from it.

        Returns:
            Tensor: Logits of shape (N, num_classes), float32 also under autocast.

        Raises:
            ValueError: If the number of features is not a multiple of T.
        """
        if x.ndim == 5:
            x = x.transpose(1, 2).flatten(0, 1)  # (N·T, C, h, w)
        if x.shape[0] % self.num_segments:
            raise ValueError(
                f'features of {x.shape[0]} segments are not a multiple of num_segments='
                f'{self.num_segments}; set num_clips of the sampler, num_segments of the backbone '
                'and of the head to the number of feature maps per clip'
            )
        x = x.mean(dim=(2, 3)).unflatten(0, (-1, self.num_segments))  # (N, T, C)
        x = self.aggregation(x)  # (N, C)
        return self.fc_cls(self.dropout(x)).float()  # (N, num_classes)
