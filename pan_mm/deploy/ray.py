"""Predictions of many videos on a Ray cluster: Ray Data decodes, recognizes and writes them.

    names ──► decode (tasks on CPUs) ──► recognize (actors, one batch a call) ──► files

Ray streams blocks of videos through these stages, holds back the decoders where the recognizers
are slower, and repeats the blocks of a worker, an actor or a machine that is lost.
"""

import atexit
import functools
import itertools
import logging
import os
import pickle
import socket
import sys
from collections.abc import Iterable, Iterator
from multiprocessing import resource_tracker
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Optional

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import ray
import ray.data
from mmengine.dataset import Compose
from mmengine.utils import import_modules_from_strings

from pan_mm.inference.inferencer import PANInferencer
from pan_mm.inference.predictions import fingerprint_of
from pan_mm.inference.recognizer import load_config
from pan_mm.inference.videos import AHEAD, find_videos, preload, read_in_pool, start_pool
from pan_mm.inference.zoo import choose
from pan_mm.utils.errors import PANError, escape

from .ray_storage import SCHEMA, Results, expand, local_copy

CLIPS = pa.schema(dict(video=pa.string(), clip=pa.large_binary(), error=pa.string()))
BLOCK = 8, 32  # videos that are decoded, and lost and repeated, together: at least and at most
SECONDS = 10  # in which a cluster answers
SHARE = 0.5  # of a core for a stage that has no GPU, so that on one core there is room for two
TOGETHER = 4  # decoded clips of a table
BLOCK_BYTES = 2**25  # decoded clips that go from stage to stage together


def connect(address: Optional[str] = None) -> None:
    """Connect to a Ray cluster, or start one on this machine only.

    Args:
        address (str, optional): ``auto`` for the cluster that this machine is part of,
            ``HOST:PORT``, or ``ray://HOST:PORT``. Defaults to a new one.

    Raises:
        ValueError: If no cluster answers there.
    """
    os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')
    logging.getLogger('ray.data').setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = sys.stderr.isatty()
    dashboard = None if address else False
    try:
        if address and address != 'auto':  # Ray itself would try for minutes
            host, _, port = address.rpartition('://')[2].rpartition(':')
            socket.create_connection((host.strip('[]'), int(port)), SECONDS).close()
        ray.init(address or 'local', include_dashboard=dashboard, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().partition('\n')[0]
        raise ValueError(
            f'no Ray cluster answers at {address} ({reason}); start one with "ray start --head", '
            'or give --ray without an address'
        ) from error


def predict_videos(
    sources: Iterable,
    out: str,
    settings: dict,
    features: bool = False,
    form: str = 'parquet',
    num_gpus: float = 0,
    concurrency: Optional[int] = None,
) -> dict:
    """Recognize videos on the connected Ray cluster, as far as ``out`` does not hold them yet.

    Results equal :class:`PANInferencer`'s, a row per video in any order; a video that cannot
    be recognized has a row with an ``error``. Workers read config, checkpoint and videos by the
    same names as this process does.

    Args:
        sources (Iterable[str]): Files, folders, globs and lists as for
            :func:`pan_mm.inference.videos.find_videos`, addresses such as ``s3://BUCKET/FOLDER``
            of any filesystem of fsspec, and Parquet files with the columns ``video`` (names) and
            ``bytes`` (contents).
        out (str): Folder or address, which gets files with the columns of ``SCHEMA``.
        settings (dict): Arguments of :class:`PANInferencer`.
        features (bool): Write features, C numbers per video, instead of classes.
        form (str): 'parquet' or 'jsonl'.
        num_gpus (float): GPUs of an actor; 0 runs the model on CPUs. Defaults to 0.
        concurrency (int, optional): Actors at most. Defaults to as the cluster allows.

    Returns:
        dict[str, int]: ``written`` rows, how many of these ``failed``, how many were ``there``, and
        ``failed_there``, how many of those had failed.

    Raises:
        ValueError: If there are no videos, or ``out`` holds results of other settings.
    """
    inferencer, settings = _on_driver(settings, 'cuda' if num_gpus else 'cpu')
    list(inferencer.iterate([], features))  # refuses features of an exported model
    identity = fingerprint_of(inferencer, settings['checkpoint'], settings['optimize'], features)
    results = Results(out, identity, form)
    there = results.read()
    actors = concurrency or _room(num_gpus)
    videos, block = _videos(sources, there['video'].combine_chunks(), actors)
    if videos is not None:
        results.make_folder()
        cores = 1 if num_gpus else SHARE
        clips = videos.map_batches(
            decode,
            batch_size=block,
            batch_format='pyarrow',
            fn_kwargs=dict(pipeline=inferencer.pipeline),
            num_cpus=cores,
        )
        rows = clips.map_batches(
            Recognizer,
            batch_size=inferencer.batch_size,
            batch_format='pyarrow',
            fn_constructor_args=(settings, features, identity),
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors, initial_size=actors),
            num_cpus=cores,
            num_gpus=num_gpus,
        )
        rows.context.target_max_block_size = BLOCK_BYTES
        rows.write_datasink(results, ray_remote_args=dict(num_cpus=0), concurrency=1)
    failed_there = len(there) - there['error'].null_count
    return dict(
        written=results.written, failed=results.failed, there=len(there), failed_there=failed_there
    )


def _on_driver(settings, device):
    """Load the model here, which checks it, and say what loads it on a worker."""
    config, checkpoint = choose(settings.get('config'), settings.get('checkpoint'))
    if checkpoint is None:
        raise PANError('random weights would differ from actor to actor; give a checkpoint')
    if '://' not in str(checkpoint):
        checkpoint = os.path.abspath(checkpoint)
    settings = dict(
        {'device': device, 'optimize': None, **settings},
        config=load_config(config),
        checkpoint=str(checkpoint),
    )
    return PANInferencer(**dict(settings, device='cpu')), settings


def _room(num_gpus):
    """Actors that the cluster has room for now."""
    resources = ray.cluster_resources()
    room = int(resources.get('GPU', 0) / num_gpus if num_gpus else resources['CPU'])
    if not room:
        raise ValueError(
            f'the cluster has {resources.get("GPU", 0):g} GPUs, and a model needs {num_gpus:g}'
        )
    return room


def _videos(sources, done, actors):
    """Make the dataset of the videos that are left to do, and say how many make a block."""
    found = find_videos(sources, expand)
    if not found:
        raise ValueError('no videos; name files, folders, globs, lists or Parquet files')
    if odd := [name for name in found if name != name.encode(errors='ignore').decode()]:
        raise ValueError(f'{escape(odd[0])}: its name is not UTF-8; rename it, or leave out --ray')
    tables = [name for name in found if name.endswith('.parquet')]
    for name in tables:
        _check_columns(name)
    names = [name for name in found if name not in set(tables)]
    left = _left(pa.table(dict(video=pa.array(names, pa.string()))), done)
    block = min(max(len(left) // (4 * actors), min(BLOCK)), max(BLOCK))
    blocks = [left.slice(start, block) for start in range(0, len(left), block)]
    datasets = [ray.data.from_arrow(blocks)] if blocks else []
    if tables:
        # Ray's own reader wants whole cores, which actors may hold: a small cluster would wait.
        files = ray.data.from_arrow([pa.table(dict(table=[name])) for name in tables])
        options = dict(batch_format='pyarrow', num_cpus=SHARE)
        datasets.append(files.map_batches(_read_left, fn_kwargs=dict(done=done), **options))
    if datasets[1:]:
        return datasets[0].union(datasets[1]), block
    return next(iter(datasets), None), block


def _check_columns(name: str) -> None:
    try:
        with fsspec.open(name) as file:
            columns = pq.read_schema(file).names
    except pa.ArrowInvalid as error:  # does not name the file
        raise ValueError(f'{name}: it cannot be read ({error})') from error
    if missing := {'video', 'bytes'} - set(columns):
        raise ValueError(f'{name}: no column {", ".join(sorted(missing))}; it has {columns}')


def _read_left(files: pa.Table, done: pa.Array) -> Iterator[pa.Table]:
    """Read names and contents of the videos in Parquet files, some at a time."""
    for name in files['table'].to_pylist():
        with fsspec.open(name) as file:
            for batch in pq.ParquetFile(file).iter_batches(min(BLOCK), columns=['video', 'bytes']):
                yield _left(pa.Table.from_batches([batch]), done)


def _left(videos: pa.Table, done: pa.Array) -> pa.Table:
    """Leave out the videos that have results."""
    return videos.filter(pc.invert(pc.is_in(videos['video'], value_set=done)))


@functools.cache
def decoder() -> Any:
    """Start the process that decodes for this one, once: a pool that outlasts a block."""
    preload('ray')
    atexit.register(_forget_tracker)
    return start_pool(1)


def _forget_tracker() -> None:
    # Ray kills the children of a worker before it ends; multiprocessing would start its tracker
    # again, which then complains of semaphores that it does not know.
    tracker = resource_tracker._resource_tracker
    tracker._fd = os.open(os.devnull, os.O_WRONLY)  # type: ignore[attr-defined]


def decode(videos: pa.Table, pipeline: Compose) -> Iterator[pa.Table]:
    """Open and decode videos, each within the bounds of its test pipeline.

    A process of its own does it, so that a video that crashes its decoder costs only itself.

    Yields:
        pa.Table: Rows with the columns of ``CLIPS``, one for each video; ``clip`` is pickled.
    """
    rows, failed = videos.to_pylist(), {}
    with TemporaryDirectory(prefix='pan_mm-ray-') as folder:
        copies = (local_copy(row, folder, failed) for row in rows)
        read = zip(rows, read_in_pool(copies, pipeline, decoder(), AHEAD))
        while some := list(itertools.islice(read, TOGETHER)):
            clips = []
            for row, (path, packed, error) in some:
                if path != row['video']:
                    error = failed.get(path) or (error and error.replace(path, 'the file'))
                    Path(path).unlink(missing_ok=True)
                clips.append(dict(video=row['video'], clip=None if error else packed, error=error))
            yield pa.Table.from_pylist(clips, CLIPS)


class Recognizer:
    """An actor's model; see :func:`predict_videos` for the arguments."""

    def __init__(self, settings: dict, features: bool, identity: str) -> None:
        import_modules_from_strings(**settings['config'].get('custom_imports', {}))
        self.inferencer = PANInferencer(**settings)
        self.features, self.identity = features, identity

    def __call__(self, clips: pa.Table) -> pa.Table:
        """Recognize the clips of :func:`decode` in one batch; gives the columns of ``SCHEMA``."""
        batch = [
            (row['video'], row['clip'] and pickle.loads(row['clip']), row['error'])
            for row in clips.to_pylist()
        ]
        rows = []
        for result in self.inferencer.recognize(batch, self.features):
            for key in ('label', 'name', 'score') if 'top' in result else ():
                result[f'{key}s'] = [each[key] for each in result['top']]
            rows.append(dict(result, model=self.identity))
        return pa.Table.from_pylist(rows, SCHEMA)
