#!/usr/bin/env python3
"""Print the command that trains each ablation of PAN_Lite."""

import argparse
import re
from typing import NamedTuple

BASE = 'pan-lite_r18_1xb16-4x1x8-30e_utd-mhad-depth'


class Ablation(NamedTuple):
    """A variant of the config ``BASE``."""

    name: str
    options: dict

    @property
    def cfg_options(self) -> str:
        return ' '.join(f'{key}={value}' for key, value in self.options.items())


def _clip_len(m):
    places = ('model.backbone', *(f'{s}_dataloader.dataset.pipeline.1' for s in ('train', 'test')))
    return Ablation(f'm = {m}', {f'{place}.clip_len': m for place in places})


def _persistence(name, **options):
    return Ablation(name, {f'model.backbone.persistence.{k}': v for k, v in options.items()})


ABLATIONS = (
    Ablation('without PA', {'model.backbone.stream': 'rgb'}),
    Ablation('PA alone', {'model.backbone.stream': 'pa'}),
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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    for ablation in ABLATIONS:
        work_dir = re.sub(r'\W+', '-', ablation.name)
        print(
            f'python tools/train.py configs/recognition/pan/{BASE}.py --seed {args.seed} '
            f'--work-dir work_dirs/pan-lite_{work_dir}_seed{args.seed} '
            f'--cfg-options {ablation.cfg_options}'
        )


if __name__ == '__main__':
    main()
