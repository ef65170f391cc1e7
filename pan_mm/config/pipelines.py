"""Pipelines of a config: the transforms that open, sample, decode and change a video."""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Optional, Union

from mmengine.dataset import Compose
from mmengine.registry import init_default_scope

from pan_mm.config.overrides import argument

SIZES = {'scale', 'scale_range', 'input_size', 'crop_size'}
NOTHING_OPENS = (
    "has no test_pipeline that opens videos; add one that begins with dict(type='VideoInit')"
)


def leaf_datasets(dataset: Optional[dict]) -> Iterator[dict]:
    """Configs of the datasets inside wrappers such as RepeatDataset and ConcatDataset."""
    if not dataset:
        return
    inner = dataset.get('datasets') or [dataset.get('dataset')]
    if inner == [None]:
        yield dataset
    for each in filter(None, inner):
        yield from leaf_datasets(each)


def dataset_of(config: dict, split: str = 'test') -> dict:
    """Config of the first dataset of a split, inside any wrappers; empty if there is none."""
    dataloader = config.get(f'{split}_dataloader') or {}
    return next(leaf_datasets(dataloader.get('dataset')), {})


def kind_of(transform: dict) -> str:
    """Classify the config of a transform: 'open', 'sample', 'decode', 'pack' or 'change'."""
    name = getattr(transform['type'], '__name__', transform['type']).rpartition('.')[2]
    if name.endswith('Init'):
        return 'open'
    if name.endswith('Decode'):
        return 'decode'
    if name.startswith('Pack'):
        return 'pack'
    return 'sample' if 'Sample' in name else 'change'


def frame_size_of(transforms: list) -> Optional[tuple]:
    """(H, W) of the frames after the transforms of these configs; None if none of them fixes it."""
    size = None
    for transform in transforms:
        kind = str(transform['type'])
        if 'Crop' in kind:
            size = transform.get('crop_size', transform.get('input_size'))
            size = size[::-1] if isinstance(size, (tuple, list)) else size  # it is (W, H)
        elif 'Resize' in kind and not transform.get('keep_ratio', True):
            size = transform['scale'][::-1]
    return (size, size) if isinstance(size, int) else size and tuple(size)


def pipelines_of(config: dict) -> list:
    """List the pipelines of a config: of its datasets, and the variables ``*_pipeline``."""
    loaders = [config.get(f'{split}_dataloader') or {} for split in ('train', 'val', 'test')]
    datasets = [leaf for loader in loaders for leaf in leaf_datasets(loader.get('dataset'))]
    pipelines = [dataset.get('pipeline') for dataset in datasets]
    pipelines += [value for name, value in config.items() if name.endswith('_pipeline')]
    return [pipeline for pipeline in pipelines if pipeline]


def set_arguments(config: dict, kind: str, **arguments: Any) -> None:
    """Set arguments of the transforms of a type in all pipelines, in place; for base configs."""
    for pipeline in pipelines_of(config):
        for transform in pipeline:
            if transform['type'] == kind:
                transform.update(arguments)


def read_frames(config: dict) -> None:
    """Let the datasets read folders of frames, not video files, in place; for base configs.

    ``test_pipeline``, for single videos, remains the one that opens a file.
    """
    for split in ('train', 'val', 'test'):
        for dataset in leaf_datasets((config.get(f'{split}_dataloader') or {}).get('dataset')):
            dataset['type'] = 'RawframeDataset'
            steps = [each for each in dataset['pipeline'] if kind_of(each) != 'open']
            dataset['pipeline'] = [
                dict(type='RawFrameDecode') if kind_of(each) == 'decode' else each for each in steps
            ]


def set_sizes(config: dict, sizes: Mapping[int, int]) -> None:
    """Exchange sizes of frames in all pipelines, in place: new pixels for old; for base configs."""
    for pipeline in pipelines_of(config):
        change_sizes(pipeline, lambda size: sizes.get(size, size))


def change_sizes(pipeline: list, change: Callable) -> None:
    """Pass each number of pixels in a pipeline through ``change``, in place."""
    for transform in pipeline:
        for key in SIZES & transform.keys():
            old = transform[key]
            pair = isinstance(old, (tuple, list))
            transform[key] = tuple(map(change, old)) if pair else change(old)


class VideoPipeline:
    """The pipeline that prepares a video for a recognizer's test.

    It is the pipeline of the config's test dataset where that opens videos, or its
    ``test_pipeline``, which MMAction2's tools for single videos use.
    """

    def __init__(self, config: dict) -> None:
        self.name = getattr(config, 'filename', None) or 'the config'
        self.dataset = dataset_of(config) or dataset_of(config, 'val')
        pipelines = [self.dataset.get('pipeline') or [], config.get('test_pipeline') or []]
        opening = [p for p in pipelines if any(kind_of(t) == 'open' for t in p)]
        self.transforms = next(filter(None, [*opening, *pipelines]), [])
        self.scope = config.get('default_scope') or 'mmaction'
        if not self.transforms:
            raise ValueError(f'{self.name} {NOTHING_OPENS}')

    def of_kind(self, *kinds: str) -> list:
        """Configs of the transforms of these kinds, see :func:`kind_of`."""
        return [transform for transform in self.transforms if kind_of(transform) in kinds]

    def reader(self) -> Compose:
        """Build the whole pipeline, which takes the dict of :func:`video_info`."""
        if not self.of_kind('open'):
            raise ValueError(f'{self.name} {NOTHING_OPENS}')
        return self._compose(self.transforms)

    def frame_transforms(self) -> Compose:
        """Build the transforms after the decoder, without the packing."""
        read = [i for i, t in enumerate(self.transforms) if kind_of(t) in ('sample', 'decode')]
        rest = self.transforms[max(read, default=-1) + 1 :]
        return self._compose([t for t in rest if kind_of(t) != 'pack'])

    def _compose(self, transforms):
        init_default_scope(self.scope)  # as init_recognizer does
        return Compose(transforms)

    @property
    def num_frames(self) -> Optional[int]:
        """T·m, frames of a view; None if no transform samples them."""
        for transform in self.of_kind('sample'):
            return math.prod(argument(transform, name) or 1 for name in ('clip_len', 'num_clips'))
        return None

    @property
    def num_views(self) -> int:
        """Clips and crops of a video."""
        crops = {'ThreeCrop': 3, 'TenCrop': 10}
        return math.prod(
            crops.get(str(transform['type']).rpartition('.')[2], 1)
            * (2 if transform.get('twice_sample') else 1)
            for transform in self.transforms
        )

    @property
    def frame_size(self) -> Optional[tuple]:
        """(H, W) of the frames that the model gets; None if no transform fixes it."""
        size = frame_size_of(self.transforms)
        if size is None and str(self.dataset.get('type')).endswith('MotionShapesDataset'):
            size = (self.dataset.get('size', 64),) * 2  # rendered at this size
        return size

    def view_shape(self, size: Optional[tuple] = None) -> tuple:
        """Shape (T·m, 3, H, W) of a view; ``size``, (H, W), where no transform fixes it."""
        size = size or self.frame_size
        if self.num_frames is None or size is None:
            raise ValueError(
                f'the test pipeline of {self.name} does not fix the number or the size of the '
                'frames; add a crop to it'
            )
        return (self.num_frames, 3, *size)


def video_info(path: Union[str, Path]) -> dict:
    """Make the dict that the first transform of a pipeline takes."""
    return dict(filename=str(path), label=-1, start_index=0, modality='RGB')
