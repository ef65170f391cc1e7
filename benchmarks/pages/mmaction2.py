#!/usr/bin/env python3
"""Write docs/mmaction2.md from the rows that tests/benchmarks/pages/test_mmaction2.py runs."""

from collections.abc import Iterable
from typing import NamedTuple, Optional

from benchmarks.compared import ROOT
from benchmarks.markdown import fill, is_check, table, write_page

COMMAND = 'python -m benchmarks.pages.mmaction2'
HEADER = f'<!-- Written by `{COMMAND}` from mmaction2.md.in and its rows; edit those. -->\n'


class Row(NamedTuple):
    """Something of MMAction2's, and how it is used with a PAN.

    Attributes:
        name (str): What it is called.
        line (str): The arguments of ``python -m pan_mm tool``, or lines of a config.
        note (str): What a user should know; of a row that fails, why, and what to use instead.
        shows (str): Pattern of what it prints, or of its error.
        leaves (str): Pattern of a file that it leaves in OUT.
        fails (bool): Whether it ends in an error. Defaults to False.
        needs (str): A package that the tests do not bring.
    """

    name: str
    line: str
    note: str = ''
    shows: str = ''
    leaves: str = ''
    fails: bool = False
    needs: str = ''


TOOLS = (
    Row(
        'train.py', 'train CONFIG --work-dir OUT', 'the same as `tools/train.py`', '', 'epoch_1.pth'
    ),
    Row(
        'test.py',
        'test CONFIG CHECKPOINT --work-dir OUT --dump OUT/scores.pkl',
        'the same as `tools/test.py`',
        'acc/top1',
        'scores.pkl',
    ),
    Row(
        'test.py --show-dir',
        'test CONFIG CHECKPOINT --work-dir OUT --show-dir OUT/shown --interval 1',
        'draws what the model saw; needs moviepy < 2 (extra `vis`)',
        leaves='shown/*',
    ),
    Row(
        'confusion_matrix.py',
        'confusion_matrix CONFIG CHECKPOINT --show-path OUT/matrix.png',
        'without `tool` the wheel fails at DRN before it reads the config; takes SCORES too',
        leaves='matrix.png',
    ),
    Row('eval_metric.py', 'eval_metric CONFIG SCORES', 'SCORES is of `test --dump`', 'acc/top1'),
    Row(
        'report_accuracy.py',
        'report_accuracy --preds SCORES SCORES --coefficients 1 0.5',
        '`tools/analysis/fuse_scores.py` checks that the clips are the same, and keeps the sum',
        'Mean Class Accuracy',
    ),
    Row(
        'get_flops.py',
        'get_flops CONFIG --shape 16 3 64 64',
        'T·m 3 H W; `tools/analysis/get_flops.py` knows the shape, and counts each stream',
        'Params',
    ),
    Row('print_config.py', 'print_config CONFIG', shows='PANBackbone'),
    Row(
        'check_videos.py',
        'check_videos CONFIG --split train --nproc 1 --output-file OUT/bad.txt',
        'reads five frames; `tools/data/check.py --decode` says what is wrong, and checks labels',
        'none are corrupted',
    ),
    Row(
        'clip_feature_extraction.py',
        'clip_feature_extraction CONFIG CHECKPOINT OUT --video-list LIST --video-root VIDEOS',
        'a file per video, (C,); LIST and VIDEOS by their whole paths where the config has a '
        'data_root; `python -m pan_mm predict --features` gives the same numbers',
        leaves='0.mp4.pkl',
    ),
    Row(
        'browse_dataset.py',
        'browse_dataset CONFIG OUT --phase train',
        leaves='**/*.mp4',
    ),
    Row(
        'vis_cam.py',
        'vis_cam CONFIG CHECKPOINT VIDEO --device cpu --out-filename OUT/cam.gif '
        '--target-layer-name backbone/backbone/layer4/1/relu',
        'the 2D backbone is one level deeper than in a TSM; `layer4/2/relu` in a ResNet-50. A map '
        'for each segment, spread over its frames; `vis_pa.py --cam` draws it beside PA',
        leaves='cam.gif',
    ),
    Row(
        'vis_scheduler.py',
        'vis_scheduler CONFIG --dataset-size 8 --not-show --save-path OUT/lr.png',
        leaves='lr.png',
    ),
    Row(
        'publish_model.py',
        'publish_model CHECKPOINT OUT/pan.pth',
        'PyTorch refuses the history in the checkpoint of an epoch: `python -m pan_mm publish`',
        'HistoryBuffer',
        fails=True,
    ),
    Row(
        'analyze_logs.py',
        'analyze_logs plot_curve OUT/scalars.json',
        'needs seaborn, and `mode` in the log, which MMEngine leaves out: TensorboardVisBackend',
        'seaborn|mode',
        fails=True,
    ),
    Row(
        'benchmark.py, bench_processing.py',
        'benchmark CONFIG',
        'written for mmcv 1: `python -m benchmarks.recognizer`, `… .pipeline`',
        "cannot import name 'Config' from 'mmcv'",
        fails=True,
    ),
    Row(
        'mmaction2torchserve.py',
        'mmaction2torchserve CONFIG CHECKPOINT --output-folder OUT',
        'needs torch-model-archiver and TorchServe: `python -m pan_mm serve`',
        'torch-model-archiver',
        fails=True,
    ),
)
TRAINING = (
    Row(
        'EarlyStoppingHook',
        "custom_hooks = [dict(type='EarlyStoppingHook', monitor='acc/top1', patience=3)]",
        'its best epoch: `default_hooks.checkpoint.save_best`, which our configs set',
    ),
    Row('EMAHook', "custom_hooks = [dict(type='EMAHook')]", 'the checkpoint holds the mean'),
    Row(
        'ProfilerHook',
        "custom_hooks = [dict(type='ProfilerHook', by_epoch=False, profile_times=2)]",
    ),
    Row(
        'AmpOptimWrapper',
        "optim_wrapper = dict(type='AmpOptimWrapper', dtype='bfloat16')",
        'or `--amp`',
    ),
    Row('gradient accumulation', 'optim_wrapper = dict(accumulative_counts=2)'),
    Row(
        'TSMOptimWrapperConstructor',
        'optim_wrapper = dict(optimizer=dict(weight_decay=5e-4),\n'
        "                     constructor='TSMOptimWrapperConstructor',\n"
        '                     paramwise_cfg=dict(fc_lr5=True))',
        'needs weight_decay; PANOptimWrapperConstructor is the recipe of the PAN authors',
    ),
    Row(
        'TensorboardVisBackend',
        "visualizer = dict(vis_backends=[dict(type='TensorboardVisBackend')])",
        'needs tensorboard (extra `vis`)',
    ),
    Row(
        'WandbVisBackend',
        "visualizer = dict(vis_backends=[dict(type='WandbVisBackend')])",
        'needs wandb; `WANDB_MODE=offline` keeps it on the machine',
        needs='wandb',
    ),
    Row(
        'MixupBlending, CutmixBlending',
        "model = dict(data_preprocessor=dict(blending=dict(type='MixupBlending',\n"
        '                                                  num_classes=19, alpha=0.2)))',
        'num_classes is that of the head',
    ),
    Row('label smoothing', 'model = dict(cls_head=dict(label_smooth_eps=0.1))'),
    Row(
        'CBFocalLoss',
        "model = dict(cls_head=dict(loss_cls=dict(type='CBFocalLoss', samples_per_cls=[1] * 19)))",
        'a number of clips for each class',
    ),
    Row(
        'multi-label training',
        'model = dict(cls_head=dict(multi_class=True,\n'
        "                           loss_cls=dict(type='BCELossWithLogits')))\n"
        'train_dataloader = dict(dataset=dict(multi_class=True, num_classes=19))\n'
        'val_dataloader = train_dataloader\n'
        "val_evaluator = dict(metric_list=('mean_average_precision',))",
        'a list line is `video label label …`; the same for the test',
        'mean_average_precision',
    ),
    Row(
        'RepeatDataset',
        'train_dataloader = dict(dataset=dict(\n'
        "    _delete_=True, type='RepeatDataset', times=2,\n"
        '    dataset=_base_.train_dataloader.dataset))',
    ),
    Row(
        'ConcatDataset',
        'train_dataloader = dict(dataset=dict(\n'
        "    _delete_=True, type='ConcatDataset',\n"
        '    datasets=[_base_.train_dataloader.dataset, _base_.train_dataloader.dataset]))',
    ),
    Row(
        'ClassBalancedDataset',
        'train_dataloader = dict(dataset=dict(\n'
        "    _delete_=True, type='ClassBalancedDataset', oversample_thr=0.5,\n"
        '    dataset=_base_.train_dataloader.dataset))',
        "MMAction2's datasets do not tell it the classes of a clip",
        'get_cat_ids',
        fails=True,
    ),
    Row(
        'RepeatAugDataset',
        "_base_.train_pipeline[0] = dict(type='DecordInit')\n"
        "_base_.train_pipeline[2] = dict(type='DecordDecode')\n"
        'train_dataloader = dict(\n'
        "    collate_fn=dict(type='repeat_pseudo_collate'),\n"
        "    dataset=dict(type='RepeatAugDataset', num_repeats=2, pipeline=_base_.train_pipeline))",
        'looks for these two by name; a bad file ends the training, as it is not watched',
    ),
    Row(
        'RepeatAugDataset with VideoInit',
        "train_dataloader = dict(dataset=dict(type='RepeatAugDataset'))",
        'see the row above',
        'requires decord',
        fails=True,
    ),
)
PIPELINES = (
    *(
        Row(
            f'{name}Init, {name}Decode',
            f"_base_.train_pipeline[0] = dict(type='{name}Init')\n"
            f"_base_.train_pipeline[2] = dict(type='{name}Decode')",
            'VideoInit takes whichever is installed, and checks the file first',
        )
        for name in ('Decord', 'PyAV', 'OpenCV')
    ),
    Row('ColorJitter', "_base_.train_pipeline.insert(3, dict(type='ColorJitter'))"),
    Row('RandomErasing', "_base_.train_pipeline.insert(3, dict(type='RandomErasing'))"),
    Row(
        'TorchVisionWrapper',
        '_base_.train_pipeline.insert(\n'
        "    3, dict(type='TorchVisionWrapper', op='RandomGrayscale', p=0.5))",
        'needs torchvision',
        needs='torchvision',
    ),
)
TESTING = (
    Row(
        'ThreeCrop',
        "_base_.test_pipeline[4] = dict(type='ThreeCrop', crop_size=72)\n"
        'test_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))',
        'in the place of CenterCrop; crop_size is the short side of Resize',
    ),
    Row(
        'TenCrop',
        "_base_.test_pipeline[4] = dict(type='TenCrop', crop_size=64)\n"
        'test_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))',
    ),
    Row(
        'ConfusionMatrix',
        "test_evaluator = [dict(type='AccMetric'), dict(type='ConfusionMatrix')]",
    ),
)

APIS = (
    Row(
        'init_recognizer, inference_recognizer',
        "inference_recognizer(init_recognizer('CONFIG', 'CHECKPOINT', 'cpu'), 'VIDEO')",
        'the scores of the test; `pan_mm.apis.PANInferencer` checks that the checkpoint fits',
    ),
    Row(
        'ActionRecogInferencer',
        "ActionRecogInferencer('CONFIG', 'CHECKPOINT', device='cpu')('VIDEO')",
        'it replaces the decoder and several crops, so that scores differ from the test',
    ),
    Row(
        'MMAction2Inferencer',
        "MMAction2Inferencer('CONFIG', 'CHECKPOINT', device='cpu')('VIDEO')",
        'the same',
    ),
)
LONG_VIDEO = Row(
    'demo/long_video_demo.py',
    '--cfg-options test_pipeline.0.type=DecordInit test_pipeline.2.type=DecordDecode',
)


def code(text: str) -> str:
    """Lines of code for the cell of a table."""
    return '<br>'.join(f'`{line}`' for line in text.splitlines())


def rows_table(rows: Iterable[Row], head: str) -> str:
    """The table of some rows."""
    lines = ((r.name, 'no' if r.fails else 'yes', code(r.line), r.note) for r in rows)
    return table(('what', 'works', head, ''), lines)


def page() -> str:
    """Text of docs/mmaction2.md."""
    template = (ROOT / 'docs' / 'mmaction2.md.in').read_text(encoding='utf-8')
    tools = [row._replace(line=f'python -m pan_mm tool {row.line}') for row in TOOLS]
    sections = {
        'TOOLS': rows_table(tools, 'command'),
        'TRAINING': rows_table(TRAINING, 'in the config'),
        'PIPELINES': rows_table(PIPELINES, 'in the config'),
        'TESTING': rows_table(TESTING, 'in the config'),
        'APIS': rows_table(APIS, 'in Python'),
        'LONG_VIDEO': f'    python -m pan_mm tool {LONG_VIDEO.name} … {LONG_VIDEO.line}',
    }
    return HEADER + fill(template, sections)


def main(argv: Optional[list] = None) -> None:
    check = is_check(__doc__, argv)
    write_page(ROOT / 'docs' / 'mmaction2.md', page(), COMMAND, check)


if __name__ == '__main__':
    main()
