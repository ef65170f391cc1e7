"""A training that learns from a trained model as well as from labels."""

from collections.abc import Callable
from operator import eq
from pathlib import Path
from typing import Optional, Union

import torch
import torch.nn.functional as F
from mmaction.models.heads import BaseHead
from mmaction.registry import HOOKS, MODELS
from mmaction.utils import SampleList
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner, load_checkpoint
from torch import Tensor, nn

from pan_mm.config.find import require_config
from pan_mm.models.backbone_2d import same_statistics
from pan_mm.utils.modules import unwrapped


@HOOKS.register_module(force=True)  # in place of the pointer to here
class DistillationHook(Hook):
    """Mixes a trained teacher's answers into the labels of each training batch.

    The head's cross entropy then asks for ``(1 - weight) · label + weight · softmax(logits of the
    teacher)`` (Hinton et al., arXiv 1503.02531, at temperature 1). The teacher, such as PAN_En,
    sees the frames that the model sees: augmented, normalized, and mixed by ``blending`` where
    that is set. It is in no checkpoint, and nothing but a training needs it.

    Args:
        config (str | Path): Config of the teacher.
        checkpoint (str | Path): Its weights, a file or URL.
        weight (float): Share of the teacher in the labels, up to 1. Defaults to 0.5.

    Raises:
        ValueError: If ``weight`` is not a share; before the training, if the teacher normalizes
            frames differently or has another number of classes.
        FileNotFoundError: Before the training, if there is no such config or checkpoint.
        RuntimeError: Before the training, if the checkpoint does not fit the config.
    """

    def __init__(
        self, config: Union[str, Path], checkpoint: Union[str, Path], weight: float = 0.5
    ) -> None:
        if not 0 < weight <= 1:
            raise ValueError(
                f'DistillationHook: weight must be greater than 0 and at most 1, got {weight}'
            )
        self.config, self.checkpoint, self.weight = str(config), str(checkpoint), float(weight)

    def before_train(self, runner: Runner) -> None:
        """Load the teacher and set it to work."""
        model = unwrapped(runner.model)
        teacher = MODELS.build(Config.fromfile(require_config(self.config)).model)
        load_checkpoint(teacher, self.checkpoint, map_location='cpu', strict=True)
        own, other = _describe(model), _describe(teacher)
        for what, same in (('mean', same_statistics), ('std', same_statistics), ('classes', eq)):
            if not same(own[what], other[what]):
                raise ValueError(
                    f'DistillationHook: the model and its teacher {self.config} must use the same '
                    f'mean, std and number of classes; {what} differ: {own[what]} and '
                    f'{other[what]}'
                )
        teacher = teacher.to(next(model.parameters()).device).eval().requires_grad_(False)
        self.blending = model.data_preprocessor.blending
        model.data_preprocessor.blending = SoftLabels(teacher, self.weight, self.blending)

    def after_train(self, runner: Runner) -> None:
        """Let the teacher go."""
        unwrapped(runner.model).data_preprocessor.blending = self.blending


def _describe(model):
    head = next(part for part in model.modules() if isinstance(part, BaseHead))
    preprocessor = model.data_preprocessor
    none = torch.empty(0)  # where frames are not normalized
    mean, std = (getattr(preprocessor, name, none).flatten().tolist() for name in ('mean', 'std'))
    return dict(mean=mean, std=std, classes=head.num_classes)


class SoftLabels:
    """Labels that a teacher takes part in; called as MMAction2's ``blending`` is.

    Args:
        teacher (nn.Module): A recognizer, in evaluation mode.
        weight (float): Its share.
        blending (Callable, optional): What mixes clips and their labels before.
    """

    def __init__(
        self, teacher: nn.Module, weight: float, blending: Optional[Callable] = None
    ) -> None:
        self.teacher, self.weight, self.blending = teacher, weight, blending

    def __call__(self, frames: Tensor, data_samples: SampleList) -> tuple:
        """Label a batch.

        Args:
            frames (Tensor): Normalized, shape (N, T·m, 3, H, W).
            data_samples (list[ActionDataSample]): One per clip; their labels become soft.

        Returns:
            tuple: The frames as they are, and the data samples.
        """
        if self.blending is not None:
            frames, data_samples = self.blending(frames, data_samples)
        with torch.no_grad():
            logits, _ = self.teacher.extract_feat(frames, stage='head')
        answers = logits.float().softmax(dim=1)  # (N, num_classes)
        for sample, answer in zip(data_samples, answers):
            label = sample.gt_label.to(answer.device)
            if label.numel() == 1:
                label = F.one_hot(label, len(answer)).squeeze(0)
            sample.set_gt_label((1 - self.weight) * label + self.weight * answer)
        return frames, data_samples
