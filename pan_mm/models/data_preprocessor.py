"""Normalization of uint8 (N, T·m, C, H, W) frames with one pass over memory."""

from typing import Optional

import torch
from mmaction.models.data_preprocessors import ActionDataPreprocessor
from mmaction.registry import MODELS

from .backbone_2d import pixel_statistics


@MODELS.register_module()
class PANDataPreprocessor(ActionDataPreprocessor):
    """``ActionDataPreprocessor`` that gives the same numbers faster, for uint8 frames in NCHW.

    Subtracting and dividing along a dimension of three channels, MMAction2 keeps a processor busy
    for three times as long as it takes along rows of pixels, and copies once more. Takes the
    same arguments; does what else is asked of it (padding, other formats) as MMAction2 does.

    Args:
        mean_std_of (str, optional): ``type`` of a backbone, such as 'timm.resnet18', whose ImageNet
            weights say mean and std. Instead of ``mean`` and ``std``.
        *args: Positional arguments of ``ActionDataPreprocessor``.
        **kwargs: Its keyword arguments.

    Raises:
        ValueError: If ``mean`` or ``std`` is given too, or the library does not say them.
    """

    def __init__(self, *args, mean_std_of: Optional[str] = None, **kwargs) -> None:
        if mean_std_of is not None:
            statistics = pixel_statistics(mean_std_of)
            if statistics is None:
                raise ValueError(f'{mean_std_of} does not say its mean and std; give both')
            if not {'mean', 'std'}.isdisjoint(kwargs):
                raise ValueError('mean_std_of replaces mean and std; give one of them')
            kwargs.update(zip(('mean', 'std'), statistics))
        super().__init__(*args, **kwargs)

    def preprocess(self, inputs: list, data_samples: list, training: bool = False) -> tuple:
        """Stack and normalize.

        Args:
            inputs (list[Tensor]): N clips of shape (M, 3, H, W).
            data_samples (list[ActionDataSample]): One of each clip.
            training (bool): Whether clips are blended, where ``blending`` is set.

        Returns:
            tuple: The batch, float32, shape (N, M, 3, H, W), and the data samples.
        """
        if not self._is_plain(inputs):
            return super().preprocess(inputs, data_samples, training)
        frames = torch.stack([clip.permute(0, 2, 3, 1) for clip in inputs])  # (N, M, H, W, 3)
        width = frames.shape[-2]
        rows = frames.flatten(-2)  # (N, M, H, W·3)
        rows = (rows - self.mean.flatten().repeat(width)).div_(self.std.flatten().repeat(width))
        batch = rows.unflatten(-1, (width, -1)).permute(0, 1, 4, 2, 3)  # (N, M, 3, H, W)
        if training and self.blending is not None:
            batch, data_samples = self.blending(batch, data_samples)
        return batch, data_samples

    def _is_plain(self, inputs):
        return (
            self.format_shape == 'NCHW'
            and self._enable_normalize
            and not self.to_rgb
            and len(self.mean) == len(self.std) == 3
            and all(
                clip.dtype == torch.uint8 and clip.ndim == 4 and clip.shape == inputs[0].shape
                for clip in inputs
            )
        )
