"""The recipe for own videos: a config that suits their number, their classes and this machine."""

import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Optional

import torch
from mmaction.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope

from pan_mm.config.find import without
from pan_mm.config.scale import apply_scale
from pan_mm.datasets.checks import read_lines
from pan_mm.datasets.file_lists import FrameNames, Video, frame_names, read_label_map
from pan_mm.engine.half import multiplies_bfloat16
from pan_mm.utils.errors import DataError
from pan_mm.utils.files import write_text

# Configs for own videos by the names that users give; the first is the default. ResNet-18 is
# trained from scratch, Lite0 is EfficientNet-Lite0 from ImageNet weights.
LITE0 = 'imagenet-pretrained-efficientnet-lite0_1xb16'
OWN_MODELS = {
    'signed-difference': 'pan/pan-signed-difference_r18_1xb16-4x1x8-30e_custom-rgb',
    'pan-pa': 'pan/pan-pa_r18_1xb16-4x1x8-30e_custom-rgb',
    'tsm': 'tsm/tsm_r18_1xb16-1x1x8-30e_custom-rgb',
    'slowonly': 'slowonly/slowonly_r18_1xb16-8x1-30e_custom-rgb',
    'pan-pa-lite0': f'pan/pan-pa_{LITE0}-4x1x8-15e_custom-rgb',
    'pan-lite-lite0': f'pan/pan-lite_{LITE0}-4x1x8-15e_custom-rgb',
    'tsm-lite0': f'tsm/tsm_{LITE0}-1x1x8-15e_custom-rgb',
}
BATCH = 16
SIZES = (112, 96, 64)  # pixels; larger frames have not been compared
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
    """Videos and their lists ``train.txt`` and ``val.txt``."""

    folder: Path  # of videos and lists
    classes: list  # names in the order of the labels
    labels: list  # of each training video
    delimiter: str = ' '  # between the fields of a line of the lists
    frames: Optional[FrameNames] = None  # where a video is a folder of them


class StepCost(NamedTuple):
    """Seconds of a training step, of one core or of the GPU."""

    reading: float  # of the videos
    computing: float

    @property
    def total(self) -> float:
        """Seconds of both."""
        return self.reading + self.computing

    def at(self, scale: float) -> 'StepCost':
        """Scale the cost to larger frames; the work is in proportion to their pixels."""
        return self._replace(computing=self.computing * scale**2)


class Schedule(NamedTuple):
    """Size of the frames and length of a training."""

    size: int  # height and width, pixels
    epochs: int
    steps: int  # in all, each of BATCH videos, or of all if there are fewer
    cost: StepCost

    @property
    def duration(self) -> str:
        """The time of the whole training, in words."""
        unit = 'the GPU' if torch.cuda.is_available() else 'one core'
        return f'about {self.steps * self.cost.total / 60:.0f} min of {unit}'


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
    # camelCase and snake_case fall apart into words.
    words = {name: re.sub(r'(?<=[a-z])(?=[A-Z])|[\W_]+', ' ', name).lower() for name in classes}
    return [name for name in classes if SIDES.search(words[name])]


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
        size (int, optional): Height and width of the frames, instead of these.
        flip (bool): Whether a mirror image shows the same class.
    """
    with tempfile.TemporaryDirectory() as temporary:
        draft = Path(temporary, path.name)
        shortest = Schedule(size or SIZES[-1], 1, 1, StepCost(0.0, 0.0))
        write_text(draft, _config(draft, model, videos, shortest, flip))
        cost = measure_step(draft, shortest.size)
    costs = {size: cost} if size else {px: cost.at(px / SIZES[-1]) for px in SIZES}
    size = next((px for px in costs if 60 * minutes >= STEPS * costs[px].total), min(costs))
    cost = costs[size]
    steps_per_epoch = max(len(videos.labels) // BATCH, 1)
    most = max(MOST['steps'], MOST['epochs'] * steps_per_epoch)
    epochs = max(round(min(60 * minutes / cost.total, most) / steps_per_epoch), 1)
    schedule = Schedule(size, epochs, epochs * steps_per_epoch, cost)
    write_text(path, _config(path, model, videos, schedule, flip))
    return schedule


def measure_step(config: Path, size: int, steps: int = 2) -> StepCost:
    """Measure what a training step costs on this machine.

    Args:
        config (Path): Has a training list.
        size (int): Height and width of the frames.
        steps (int): Are measured after one that is not.

    Returns:
        StepCost: In seconds of processor time; on a GPU, seconds.
    """
    cfg = Config.fromfile(config)
    cfg.size = size
    apply_scale(cfg)
    init_default_scope(cfg.default_scope)
    gpu = torch.cuda.is_available()
    clock, device = (time.perf_counter, 'cuda') if gpu else (time.process_time, 'cpu')
    half = cfg.optim_wrapper.get('type') == 'AmpOptimWrapper'
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    batch_size = cfg.train_dataloader.batch_size
    reading = computing = 0.0
    with torch.random.fork_rng():
        model = MODELS.build(without(cfg.model, ('pretrained', 'weights'))).to(device).train()
        for step in range(steps + 1):
            begun = clock()
            batch = [dataset[(step * batch_size + i) % len(dataset)] for i in range(batch_size)]
            read = clock()
            data = model.data_preprocessor(pseudo_collate(batch), training=True)
            with torch.autocast(device, torch.bfloat16, enabled=half):
                loss, log = model.parse_losses(model(**data, mode='loss'))
            loss.backward()
            log['loss'].item()  # waits for the GPU
            model.zero_grad()
            if step:
                reading += (read - begun) / steps
                computing += (clock() - read) / steps
    return StepCost(reading, computing)


CONFIG = """\
# Written by tools/data/build_list.py; yours to change.
_base_ = 'pan_mm::recognition/{base}.py'
{edits}
_base_.param_scheduler[0].end = {warm_up}  # warm-up
_base_.param_scheduler[1].update(end={epochs}, T_max={epochs})

size = {size}  # height and width of the frames
# {steps} steps, {cost} where it was written
train_cfg = dict(max_epochs={epochs}, val_interval={interval})
default_hooks = dict(checkpoint=dict(interval={interval}))
classes = [
    {classes},
]
model = dict(cls_head=dict(num_classes=len(classes)))
dataset = dict(
    {dataset},
    metainfo=dict(classes=classes),
)
train_dataloader = dict(
    batch_size={batch_size},
    drop_last=True,
    sampler=dict(type={sampler!r}),
    dataset=dict(pipeline=_base_.train_dataloader.dataset.pipeline, **dataset),
)
val_dataloader = dict(dataset=dataset)
test_dataloader = val_dataloader
"""
HALF = "optim_wrapper = dict(type='AmpOptimWrapper', dtype='bfloat16')\n"


def _config(path, model, videos, schedule, flip):
    """Text of the config."""
    counts = [videos.labels.count(label) for label in range(len(videos.classes))]
    folder = videos.folder.resolve()
    root = '{{ fileDirname }}' if path.resolve().parent == folder else str(folder)
    dataset, edits = dict(data_root=root), []
    if videos.delimiter != ' ':  # lists of frames have no other
        dataset['delimiter'] = videos.delimiter
    if videos.frames:
        dataset.update(videos.frames._asdict())
        edits.append('read_frames(_base_)')
    if not flip:  # a mirror image shows another class
        edits.append("set_arguments(_base_, 'Flip', flip_ratio=0)")
    if edits:
        edits.insert(0, '\nfrom pan_mm.config.pipelines import read_frames, set_arguments\n')
    text = CONFIG.format(
        base=OWN_MODELS[model],
        edits='\n'.join(edits),
        warm_up=max(schedule.epochs // WARM_UP, 1),
        epochs=schedule.epochs,
        size=schedule.size,
        steps=schedule.steps,
        cost=schedule.duration,
        interval=max(schedule.epochs // VALIDATIONS, 1),
        classes=',\n    '.join(map(repr, videos.classes)),
        dataset=',\n    '.join(f'{key}={value!r}' for key, value in dataset.items()),
        batch_size=min(BATCH, len(videos.labels)),
        sampler='ClassBalancedSampler' if max(counts) > RATIO * min(counts) else 'DefaultSampler',
    )
    return text + HALF if multiplies_bfloat16() else text
