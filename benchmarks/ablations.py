#!/usr/bin/env python3
"""Print the command that trains each ablation of PAN_Lite."""

import argparse
import re
from typing import NamedTuple

BASES = {
    'utd-mhad': 'pan-lite_r18_1xb16-4x1x8-30e_utd-mhad-depth',
    'motionshapes': 'pan-lite_r18_1xb16-4x1x8-4e_motionshapes-rgb',
}
VALIDATED = ('motionshapes',)  # runs there validate on the split that they test


class Ablation(NamedTuple):
    """A variant of the configs ``BASES``."""

    name: str
    options: dict

    def cfg_options(self, dataset: str = 'utd-mhad') -> str:
        """The options of a command that trains and tests the variant on a dataset."""
        options = dict(self.options)
        if dataset in VALIDATED:
            validated = {re.sub('^test_', 'val_', key): options[key] for key in options}
            options.update(validated)
        return ' '.join(f'{key}={value}' for key, value in options.items())


def _clip_len(m):
    places = ('model.backbone', *(f'{s}_dataloader.dataset.pipeline.1' for s in ('train', 'test')))
    return Ablation(f'm = {m}', {f'{place}.clip_len': m for place in places})


def _persistence(name, **options):
    return Ablation(name, {f'model.backbone.persistence.{k}': v for k, v in options.items()})


ABLATIONS = (
    Ablation('without PA', {'model.backbone.stream': 'rgb'}),
    Ablation('PA only', {'model.backbone.stream': 'pa'}),
    Ablation('PA as attention', {'model.backbone.stream': 'attention'}),
    _clip_len(2),
    _clip_len(3),
    _clip_len(6),
    Ablation('average consensus instead of VAP', {'model.cls_head.type': 'TSMHead'}),
    _persistence('4 filters', num_filters=4),
    _persistence('16 filters', num_filters=16),
    _persistence('filters of 3 × 3', kernel_size=3),
    _persistence('filters of 5 × 5', kernel_size=5),
    _persistence('filters of std 0.001, as in the paper', init_std=0.001),
    Ablation('without shift', {'model.backbone.backbone.is_shift': False}),
)


def _mixup(num_classes):
    values = dict(type='MixupBlending', num_classes=num_classes, alpha=0.2)
    return Ablation('Mixup', {f'model.data_preprocessor.blending.{k}': values[k] for k in values})


# Extras for any config's recipe, and the paper's optimizer in place of the config's.
OPTIONS = (
    Ablation('label smoothing', {'model.cls_head.label_smooth_eps': 0.1}),
    _mixup(27),
    Ablation(
        "the paper's optimizer",
        {
            'optim_wrapper.constructor': 'PANOptimWrapperConstructor',
            'optim_wrapper.optimizer.type': 'SGD',
            'optim_wrapper.optimizer.lr': 0.01,
            'optim_wrapper.optimizer.momentum': 0.9,
            'optim_wrapper.optimizer.weight_decay': 0.0001,
        },
    ),
)
# The same for JHMDB.
OPTIONS_JHMDB = (
    Ablation('without flips', {'train_dataloader.dataset.pipeline.6.flip_ratio': 0}),
    _mixup(21),
)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--dataset', choices=BASES, default='utd-mhad')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    base = BASES[args.dataset]
    for ablation in ABLATIONS:
        name = re.sub(r'\W+', '-', ablation.name)
        print(
            f'python tools/train.py configs/recognition/pan/{base}.py --seed {args.seed} '
            f'--work-dir work_dirs/{args.dataset}_{name}_seed{args.seed} '
            f'--cfg-options {ablation.cfg_options(args.dataset)}'
        )


if __name__ == '__main__':
    main()
