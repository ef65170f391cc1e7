"""The recipe for own videos: a config that suits their number, their classes and this machine."""

import re
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Optional

import torch
from mmaction.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.runner.amp import autocast

from pan_mm.config.find import without
from pan_mm.config.scale import apply_scale
from pan_mm.datasets.checks import read_lines
from pan_mm.datasets.file_lists import (
    FrameNames,
    Video,
    frame_names,
    read_label_map,
    write_lines,
)
from pan_mm.engine.half import multiplies_bfloat16
from pan_mm.utils.errors import ConfigError, DataError

# Configs for own videos by the names that users give; the first is the default. ResNet-18 is
# trained from scratch, Lite0 is EfficientNet-Lite0 from ImageNet weights.
LITE0 = 'imagenet-pretrained-efficientnet-lite0_1xb16'
OWN_MODELS = {
    'pan-pa': 'pan/pan-pa_r18_1xb16-4x1x8-30e_custom-rgb',
    'signed-difference': 'pan/pan-signed-difference_r18_1xb16-4x1x8-30e_custom-rgb',
    'tsm': 'tsm/tsm_r18_1xb16-1x1x8-30e_custom-rgb',
    'slowonly': 'slowonly/slowonly_r18_1xb16-8x1-30e_custom-rgb',
    'pan-pa-lite0': f'pan/pan-pa_{LITE0}-4x1x8-15e_custom-rgb',
    'pan-lite-lite0': f'pan/pan-lite_{LITE0}-4x1x8-15e_custom-rgb',
    'tsm-lite0': f'tsm/tsm_{LITE0}-1x1x8-15e_custom-rgb',
}
BATCH = 16
SIZES = (224, 160, 112, 96, 64)  # pixels
STEPS = 400  # that frames of any size get before larger ones are taken
MOST = dict(steps=2000, epochs=60)  # a longer training goes beyond neither
VALIDATIONS = 10  # of a training, with a checkpoint each
WARM_UP = 20  # 1 / WARM_UP of the epochs
RATIO = 3  # the largest class over the smallest, from which all are seen equally often
# Words in the name of a class that the mirror image of its video is not of.
SIDES = re.compile(
    r'\b(left(?!over)|right|links|rechts|gauche|droite|izquierda|derecha|esquerda|direita)'
    r'|\b(sinistra|destra)|clockwise|\bc?cw\b|[左右]'
)


class OwnVideos(NamedTuple):
    """Videos and their lists ``train.txt`` and ``val.txt``.

    Args:
        folder (Path): Holds videos and lists.
        classes (list[str]): Names in the order of the labels.
        labels (list[int]): Label of each training video.
        delimiter (str): Between the fields of a line of the lists.
        frames (FrameNames, optional): Names of the frames, where a video is a folder of them.
    """

    folder: Path
    classes: list
    labels: list
    delimiter: str = ' '
    frames: Optional[FrameNames] = None


class Schedule(NamedTuple):
    """Size of the frames and length of a training.

    Args:
        size (int): Height and width, pixels.
        epochs (int): Length of the training.
        steps (int): Iterations in all, each of ``BATCH`` videos, or of all if there are fewer.
        seconds (float): Time of a step, of one core or of the GPU.
    """

    size: int
    epochs: int
    steps: int
    seconds: float

    @property
    def cost(self) -> str:
        """The time of the whole training, in words."""
        unit = 'the GPU' if torch.cuda.is_available() else 'one core'
        return f'about {self.steps * self.seconds / 60:.0f} minutes of {unit}'


def read_own_videos(folder: Path) -> OwnVideos:
    """Read the lists that tools/data/build_list.py has written.

    Raises:
        DataError: If there are none.
    """
    classes = read_label_map(folder / 'label_map.txt')
    lists = [folder / 'train.txt', folder / 'val.txt']
    if missing := [str(path) for path in lists if not path.is_file()]:
        raise DataError(f'{", ".join(missing)}: no such list; tools/data/build_list.py writes it')
    lines = read_lines(lists[0])
    delimiter = '\t' if '\t' in lines[0] else ' '
    videos = [Video.from_line(line, delimiter) for line in lines]
    frames = frame_names(str(folder), videos)
    return OwnVideos(folder, classes, [video.label for video in videos], delimiter, frames)


def sided(classes: Sequence) -> list:
    """Names of the classes whose mirror image shows another class, such as 'turnLeft'."""
    return [name for name in classes if SIDES.search(_words(name))]


def _words(name):
    return re.sub(r'[\W_]+', ' ', re.sub(r'(?<=[a-z])(?=[A-Z])', ' ', name)).lower()


def write_config(
    path: Path,
    model: str,
    videos: OwnVideos,
    minutes: float,
    size: Optional[int] = None,
    flip: bool = True,
) -> Schedule:
    """Write a config that trains a model on own videos within a budget.

    It has the largest frames that leave ``STEPS`` steps, and all steps that the budget allows: a
    step is measured on this machine.

    Args:
        path (Path): The config; beside the lists it may move with them.
        model (str): A name of ``OWN_MODELS``.
        videos (OwnVideos): To train on.
        minutes (float): Time of the training in minutes of one core, or of the GPU.
        size (int, optional): Height and width of the frames. Defaults to the largest within the
            budget.
        flip (bool): Whether a mirror image shows the same class.

    Returns:
        Schedule: The schedule in the config.

    Raises:
        ConfigError: If there is no such model.
    """
    if model not in OWN_MODELS:
        raise ConfigError(f'{model}: no such model; there are {", ".join(OWN_MODELS)}')
    with tempfile.TemporaryDirectory() as temporary:
        draft = Path(temporary, path.name)
        shortest = Schedule(size or SIZES[-1], 1, 1, 0.0)
        write_lines(draft, _lines(draft, model, videos, shortest, flip))
        schedule = _schedule(draft, len(videos.labels), minutes, size)
    write_lines(path, _lines(path, model, videos, schedule, flip))
    return schedule


def _schedule(config, clips, minutes, size):
    cost = seconds_per_step(config, size or SIZES[-1])
    # Work is in proportion to the pixels.
    costs = {size: cost} if size else {px: cost * (px / SIZES[-1]) ** 2 for px in SIZES}
    size = next((px for px in costs if 60 * minutes >= STEPS * costs[px]), min(costs))
    steps_per_epoch = max(clips // BATCH, 1)
    most = max(MOST['steps'], MOST['epochs'] * steps_per_epoch)
    epochs = max(round(min(60 * minutes / costs[size], most) / steps_per_epoch), 1)
    return Schedule(size, epochs, epochs * steps_per_epoch, costs[size])


def seconds_per_step(config: Path, size: int, steps: int = 2) -> float:
    """Measure what a training step costs on this machine, with the reading of its videos.

    Args:
        config (Path): Has a training list.
        size (int): Height and width of the frames.
        steps (int): Are measured after one that is not.

    Returns:
        float: Seconds of processor time, added over cores and workers; on a GPU, seconds.
    """
    cfg = Config.fromfile(config)
    cfg.size = size
    apply_scale(cfg)
    init_default_scope(cfg.default_scope)
    gpu = torch.cuda.is_available()
    clock, device = (time.perf_counter, 'cuda') if gpu else (time.process_time, 'cpu')
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    with torch.random.fork_rng():
        model = MODELS.build(without(cfg.model, ('pretrained', 'weights'))).to(device).train()
        for step in range(steps + 1):
            if step == 1:
                begun = clock()
            batch = [dataset[i % len(dataset)] for i in range(cfg.train_dataloader.batch_size)]
            data = model.data_preprocessor(pseudo_collate(batch), training=True)
            with autocast(device_type=device, dtype=torch.bfloat16, enabled=_is_half(cfg)):
                loss, log = model.parse_losses(model(**data, mode='loss'))
            loss.backward()
            log['loss'].item()  # waits for the GPU
            model.zero_grad()
    return (clock() - begun) / steps


def _is_half(cfg):
    return str(cfg.optim_wrapper.get('type')).endswith('AmpOptimWrapper')


def _lines(path, model, videos, schedule, flip):
    """Lines of the config."""
    counts = Counter(videos.labels)
    few, many = (pick(counts[i] for i in range(len(videos.classes))) for pick in (min, max))
    interval = max(schedule.epochs // VALIDATIONS, 1)
    folder = videos.folder.resolve()
    root = '{{ fileDirname }}' if path.resolve().parent == folder else str(folder)
    dataset = [f'data_root={root!r}', 'metainfo=dict(classes=classes)']
    if videos.delimiter != ' ':
        dataset.append(f'delimiter={videos.delimiter!r}')
    if videos.frames:
        dataset += [f'{key}={value!r}' for key, value in videos.frames._asdict().items()]
    yield '# Written by tools/data/build_list.py; yours to change.'
    yield f"_base_ = 'pan_mm::recognition/{OWN_MODELS[model]}.py'"
    yield ''
    if videos.frames:
        yield 'from pan_mm.config.pipelines import read_frames'
        yield ''
        yield 'read_frames(_base_)'
    if not flip:
        yield 'from pan_mm.config.pipelines import set_arguments'
        yield ''
        yield "set_arguments(_base_, 'Flip', flip_ratio=0)  # a mirror image shows another class"
    yield f'_base_.param_scheduler[0].end = {max(schedule.epochs // WARM_UP, 1)}  # warm-up'
    yield f'_base_.param_scheduler[1].update(end={schedule.epochs}, T_max={schedule.epochs})'
    yield ''
    yield f'size = {schedule.size}  # height and width of the frames'
    yield f'# {schedule.steps} steps, {schedule.cost} where it was written'
    yield f'train_cfg = dict(max_epochs={schedule.epochs}, val_interval={interval})'
    yield f'default_hooks = dict(checkpoint=dict(interval={interval}))'
    yield 'classes = ['
    yield from (f'    {name!r},' for name in videos.classes)
    yield ']'
    yield 'model = dict(cls_head=dict(num_classes=len(classes)))'
    yield 'dataset = dict('
    yield from (f'    {each},' for each in dataset)
    yield ')'
    yield 'train_dataloader = dict('
    yield f'    batch_size={min(BATCH, len(videos.labels))},'
    yield '    drop_last=True,'
    if many > RATIO * few:
        yield "    sampler=dict(type='ClassBalancedSampler'),"
    yield '    dataset=dict(pipeline=_base_.train_dataloader.dataset.pipeline, **dataset),'
    yield ')'
    yield 'val_dataloader = dict(dataset=dataset)'
    yield 'test_dataloader = val_dataloader'
    if multiplies_bfloat16():
        yield "optim_wrapper = dict(type='AmpOptimWrapper', dtype='bfloat16')"
