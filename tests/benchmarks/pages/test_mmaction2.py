"""MMAction2's tools, hooks, datasets and transforms with a PAN: the rows of docs/mmaction2.md."""

import re

import numpy as np
import pytest
import torch
from mmaction.apis import inference_recognizer, init_recognizer
from mmengine import load
from mmengine.config import Config
from mmengine.dataset import Compose

from benchmarks.pages.mmaction2 import read_rows
from builders import ROOT, SMALL, write_config
from pan_mm.apis import PANInferencer, load_recognizer

pytestmark = pytest.mark.slow
ROWS = read_rows()

DATA = """
train_pipeline = [
    dict(type='VideoInit'),
    dict(type='PANSampleFrames', clip_len=4, num_clips=4),
    dict(type='VideoDecode'),
    dict(type='Resize', scale=(64, 64), keep_ratio=False),
    dict(type='FormatShape', input_format='NCHW'),
    dict(type='PackActionInputs'),
]
dataset = dict(type='VideoDataset', ann_file='list.txt', data_prefix=dict(video={videos!r}))
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(**dataset, pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, pipeline=test_pipeline, test_mode=True),
)
test_dataloader = val_dataloader
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9))
param_scheduler = [dict(type='MultiStepLR', milestones=[1], by_epoch=True, end=9)]
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory, videos):
    folder = tmp_path_factory.mktemp('mmaction2')
    more = SMALL + DATA.format(videos=str(videos))
    write_config(folder, more=more).rename(folder / 'config.py')
    (folder / 'list.txt').write_text(''.join(f'{i}.mp4 {i % 2}\n' for i in range(4)))
    return folder


@pytest.fixture(scope='module')
def words(folder, videos, run_tool):
    """What the words in capitals of a row stand for; trains and tests once."""
    train, test = 'train config.py', 'test config.py trained/epoch_1.pth --dump scores.pkl'
    for line in (train, test):
        words = ['tool', *line.split(), '--work-dir', 'trained']
        run_tool('pan_mm', *words, cwd=folder, check=True)
    return dict(
        CONFIG='config.py',
        CHECKPOINT='trained/epoch_1.pth',
        SCORES='scores.pkl',
        LIST='list.txt',
        VIDEOS=str(videos),
        VIDEO=str(videos / '3.mp4'),
        **{'1/relu': '0/act2'},  # timm's name for the end of a block
    )


@pytest.fixture
def check(words, folder, run_tool, tmp_path):
    """Runs a row, and holds what comes of it against the row."""

    def run(row, line, **more):
        if row.needs:
            pytest.importorskip(row.needs)
        known = dict(words, OUT=str(tmp_path), **more)
        line = re.sub(rf'\b({"|".join(known)})\b', lambda match: known[match[0]], line)
        done = run_tool('pan_mm', 'tool', *line.split(), cwd=folder, WANDB_MODE='offline')
        output = done.stdout + done.stderr
        assert (done.returncode != 0) == row.fails, output[-3000:]
        assert re.search(row.shows, output), output[-3000:]
        assert not row.leaves or list(tmp_path.glob(row.leaves)), output[-3000:]

    return run


def rows(*groups):
    """Parameters with a row's name for their name."""
    every = [row for group in groups for row in ROWS[group]]
    return pytest.mark.parametrize('row', every, ids=[re.sub(r'\W+', '-', r.name) for r in every])


@rows('tools')
def test_tool(row, check):
    check(row, row.line)


@rows('training', 'pipelines', 'testing')
def test_config(row, check, folder, tmp_path):
    text = f"_base_ = ['{folder}/config.py']\n{row.line}\n"
    if row in ROWS['pipelines']:
        text += 'train_dataloader = dict(dataset=dict(pipeline=_base_.train_pipeline))\n'
    (tmp_path / 'own.py').write_text(text)
    command = 'test CONFIG CHECKPOINT' if row in ROWS['testing'] else 'train CONFIG'
    check(row, f'{command} --work-dir OUT', CONFIG='OUT/own.py'.replace('OUT', str(tmp_path)))


@rows('python')
def test_api(row, check, words, tmp_path):
    line = re.sub('|'.join(words), lambda match: words[match[0]], row.line)
    script = (
        f'from mmaction.apis import *\nfrom mmaction.apis.inferencers import *\nprint({line})\n'
    )
    (tmp_path / 'script.py').write_text(script)
    check(row, f'{tmp_path}/script.py')


@pytest.mark.parametrize('stream', ['lite', 'en'])
def test_features_are_those_of_predict(stream, check, folder, words, tmp_path):
    """A config of the zoo by its name; it has a data_root, so the list goes by its whole path."""
    row = next(row for row in ROWS['tools'] if row.name == 'clip_feature_extraction.py')
    config = next(ROOT.glob(f'configs/recognition/pan/pan-{stream}_r18_*4x1x8*64px_utd*.py'))
    model = load_recognizer(config, device='cpu')
    checkpoint = tmp_path / 'random.pth'
    torch.save(dict(state_dict=model.state_dict()), checkpoint)
    own = dict(CONFIG=config.name, CHECKPOINT=str(checkpoint), LIST=str(folder / 'list.txt'))
    check(row, row.line, **own)
    recognize = PANInferencer(config, checkpoint, 'cpu')
    for index in range(4):
        (found,) = recognize(f'{words["VIDEOS"]}/{index}.mp4', features=True)
        theirs = load(tmp_path / f'{index}.mp4.pkl')
        assert theirs.tolist() == pytest.approx(found['features'], rel=1e-4, abs=1e-5)


def test_long_video_demo(folder, words):
    """What the demo does: it removes steps by name, and hands over frames."""
    cfg = Config.fromfile(folder / 'config.py')
    (row,) = ROWS['long_video']
    assert row.line in (ROOT / 'docs' / 'mmaction2.md').read_text(encoding='utf-8')
    cfg.merge_from_dict(dict(option.split('=') for option in row.line.split()[1:]))
    model = init_recognizer(cfg, str(folder / words['CHECKPOINT']), 'cpu')
    (sampler,) = (step for step in cfg.test_pipeline if 'SampleFrames' in step['type'])
    removed = ('DecordInit', 'DecordDecode', sampler['type'])
    rest = Compose([step for step in cfg.test_pipeline if step['type'] not in removed])
    length = sampler['clip_len'] * sampler['num_clips']
    frames = np.random.default_rng(0).integers(0, 256, (length, 48, 64, 3), np.uint8)
    data = dict(img_shape=(48, 64), modality='RGB', label=-1, imgs=list(frames))
    data.update(num_clips=sampler['num_clips'], clip_len=sampler['clip_len'])
    assert inference_recognizer(model, data, rest).pred_score.shape == (19,)
