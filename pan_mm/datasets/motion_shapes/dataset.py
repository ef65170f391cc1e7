"""MotionShapes, the embedded dataset: rendered on first use, then read as any video dataset."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Union

import numpy as np
from filelock import FileLock
from mmaction.datasets import VideoDataset
from mmaction.registry import DATASETS

from pan_mm.utils.files import write_text
from pan_mm.utils.terminal import track

from .render import CLASSES, render_clip, write_video

SPLITS = ('train', 'val', 'test')
NUM_FRAMES = 36
# Raise it with every change that alters the rendered files.
_RECIPE = 1


def render_motion_shapes(
    data_root: Union[str, os.PathLike] = 'data/motionshapes',
    num_train: int = 600,
    num_val: int = 120,
    num_test: int = 240,
    seed: int = 0,
    size: int = 64,
) -> None:
    """Render MotionShapes into ``data_root``, unless it is there already.

    The folder gets ``videos/*.mp4``, MMAction2's annotation files ``{train,val,test}.txt``,
    ``label_map.txt`` and ``meta.json``. It appears complete or not at all. If several
    processes ask for it at once, one renders and the others wait. A clip depends on the seed, its
    split and its place in it. See :class:`MotionShapesDataset` for the arguments.
    """
    counts = dict(train=num_train, val=num_val, test=num_test)
    for split, count in counts.items():
        if count < 1:
            raise ValueError(f'num_{split} must be at least 1, got {count}')
    if size < 48 or size % 2:
        raise ValueError(f'size must be even and at least 48, got {size}')
    meta = dict(recipe=_RECIPE, seed=seed, size=size, num_frames=NUM_FRAMES, num_clips=counts)

    root = Path(data_root).resolve()
    if _is_complete(root, meta):
        return
    root.parent.mkdir(parents=True, exist_ok=True)
    # The system frees the lock of a dead process, so a killed rendering blocks no one.
    with FileLock(root.parent / f'.{root.name}.lock'):
        if _is_complete(root, meta):
            return
        work = root.with_name(f'.{root.name}.rendering')
        shutil.rmtree(work, ignore_errors=True)  # left by a killed process
        work.mkdir()
        try:
            _render(work, meta)
            os.replace(work, root)
        finally:
            shutil.rmtree(work, ignore_errors=True)


@DATASETS.register_module()
class MotionShapesDataset(VideoDataset):
    """Embedded dataset of 12 classes that differ only in motion, in time-reversed pairs.

    Two shapes move left or right, move up or down, grow or shrink, turn either way, approach or
    part, appear or vanish, over a drifting noisy texture. One frame says nothing of the class;
    :mod:`pan_mm.datasets.motion_shapes.render` explains why. The clips are rendered into
    ``data_root`` when it does not exist, about half a minute and 55 MB with the defaults.

    Args:
        pipeline: Data transforms.
        split: 'train', 'val' or 'test'.
        data_root: Folder of the rendered clips.
        num_train, num_val, num_test: Numbers of clips. Labels take turns: multiples of 12 balance.
        seed: Equal seeds give equal files.
        size: Height and width of the clips in pixels, even, at least 48.
        **kwargs: Arguments of ``VideoDataset``.

    Raises:
        FileExistsError: ``data_root`` holds something else, or was rendered with other arguments.
    """

    METAINFO = dict(classes=tuple(CLASSES))

    def __init__(
        self,
        pipeline: list[Union[dict, Callable]],
        split: str = 'train',
        data_root: str = 'data/motionshapes',
        num_train: int = 600,
        num_val: int = 120,
        num_test: int = 240,
        seed: int = 0,
        size: int = 64,
        **kwargs,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f'split must be one of {SPLITS}, got {split!r}')
        render_motion_shapes(data_root, num_train, num_val, num_test, seed, size)
        super().__init__(f'{split}.txt', pipeline, data_root=data_root, **kwargs)


def _is_complete(root, meta):
    """Test if ``root`` holds this very rendering; refuse anything else."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    hint = f'Remove {root} to render it again, or choose another data_root.'
    if not (root / 'meta.json').is_file():
        raise FileExistsError(f'{root} is there but holds no MotionShapes. {hint}')
    found = json.loads((root / 'meta.json').read_text())
    if found != meta:
        raise FileExistsError(
            f'{root} was rendered with other arguments: it has {found}, wanted is {meta}. {hint}'
        )
    return True


def _render(folder, meta):
    (folder / 'videos').mkdir()
    clips = [(split, i) for split in SPLITS for i in range(meta['num_clips'][split])]
    print(f'Rendering MotionShapes, {len(clips)} clips', flush=True)
    annotations = {split: [] for split in SPLITS}
    for split, i in track(clips, len(clips), 'clips'):
        label = i % len(CLASSES)
        name = f'videos/{split}_{i:05d}.mp4'
        rng = np.random.default_rng([meta['seed'], SPLITS.index(split), i])
        write_video(str(folder / name), render_clip(rng, label, meta['size'], meta['num_frames']))
        annotations[split].append(f'{name} {label}\n')
    for split, lines in annotations.items():
        write_text(folder / f'{split}.txt', ''.join(lines))
    write_text(folder / 'label_map.txt', ''.join(f'{name}\n' for name in CLASSES))
    write_text(folder / 'meta.json', json.dumps(meta, indent=2) + '\n')
