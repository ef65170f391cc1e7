"""A verdict at the end of a training."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmaction.registry import HOOKS
from mmengine.dataset import pseudo_collate
from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from pan_mm.engine.verdict import Fit, accuracy, report
from pan_mm.utils.files import write_text
from pan_mm.utils.modules import unwrapped


@HOOKS.register_module()
class VerdictHook(Hook):
    """Logs how well a classifier knows its training and validation videos, and the next step.

    At the end of a training it predicts training videos, prepared as in a validation, and logs
    :func:`pan_mm.engine.verdict.report`. The numbers are also in ``verdict.json`` of the work dir.
    It judges the weights of the last epoch. It needs a validation and one label for a video, and
    else stays silent.

    Args:
        num_videos (int): Training videos that it predicts, evenly over the classes. Defaults to
            200.
    """

    priority = 'VERY_LOW'

    def __init__(self, num_videos: int = 200) -> None:
        self.num_videos = num_videos
        self.val: list = []

    def before_val_epoch(self, runner: Runner) -> None:
        """Forget the validation before."""
        self.val = []

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Keep labels and predictions."""
        self.val += labels_of(outputs or ())

    def after_train(self, runner: Runner) -> None:
        """Log the verdict and write it."""
        val = [pair for pairs in all_gather_object(self.val) for pair in pairs]
        if not (is_main_process() and val):
            return
        dataset = runner.train_dataloader.dataset
        while hasattr(dataset, 'dataset'):  # RepeatDataset and others around it
            dataset = dataset.dataset
        labels = [dataset.get_data_info(index)['label'] for index in range(len(dataset))]
        if train := self._predict(runner, dataset, labels):
            self._judge(runner, dataset, labels, train, val)

    def _judge(self, runner, dataset, labels, train, val):
        num_classes = 1 + max(*labels, *(max(pair) for pair in (*train, *val)))
        names = dataset.metainfo.get('classes') or list(map(str, range(num_classes)))
        transforms = getattr(dataset.pipeline, 'transforms', ())
        losses = runner.message_hub.get_scalar('train/loss')
        fit = Fit(
            classes=list(names),
            counts=[labels.count(label) for label in range(len(names))],
            train=train,
            val=val,
            loss=float(losses.mean(len(runner.train_dataloader))),  # of the last epoch
            epochs=runner.max_epochs,
            flips=any(getattr(transform, 'flip_ratio', 0) for transform in transforms),
        )
        text = report(fit)
        runner.logger.info(f'What was learned:\n{text}')
        record = dict(
            fit._asdict(),
            train_accuracy=accuracy(train),
            val_accuracy=accuracy(val),
            iterations=runner.iter,
            verdict=text.rpartition('Verdict: ')[2],
        )
        text = json.dumps(record, indent=1, ensure_ascii=False)
        write_text(Path(runner.work_dir, 'verdict.json'), f'{text}\n')
        runner.logger.info(f'Recognize with it: {_predict_command(runner)}')

    @torch.no_grad()
    def _predict(self, runner, dataset, labels):
        """Labels and predictions of training videos, evenly over the classes."""
        order = sorted(range(len(labels)), key=lambda index: str(labels[index]))
        count = min(self.num_videos, len(order))
        prepare = runner.val_dataloader.dataset.pipeline
        model = unwrapped(runner.model).eval()
        pairs: list = []
        for i in range(count):
            video = dataset.get_data_info(order[i * len(order) // count])
            pairs += labels_of(model.val_step(pseudo_collate([prepare(video)])))
        return pairs


def _predict_command(runner):
    config = Path(runner.work_dir, Path(runner.cfg.filename or f'{runner.timestamp}.py').name)
    checkpoint = runner.message_hub.get_info('last_ckpt', 'CHECKPOINT.pth')
    words = ['predict', 'VIDEO', '--config', str(config), '--checkpoint', checkpoint]
    return shlex.join(['python', '-m', 'pan_mm', *words])


def labels_of(samples: Sequence) -> list:
    """(label, predicted label) of each sample that has one label; others are left out."""
    pairs = [(s.get('gt_label'), s.get('pred_label')) for s in samples]
    return [
        (int(label), int(predicted))
        for label, predicted in pairs
        if label is not None and predicted is not None and label.numel() == predicted.numel() == 1
    ]
