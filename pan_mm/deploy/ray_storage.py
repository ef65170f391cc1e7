"""Videos at addresses, and results of a Ray cluster, on any filesystem of fsspec."""

import glob
import io
import json
import os
import sys
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from ray import cloudpickle
from ray.data import Datasink

from pan_mm.datasets.container import DEFAULT
from pan_mm.inference.videos import expand_local, is_video
from pan_mm.utils.errors import VideoError

# By value: the processes that write results then need not import this package, for seconds.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

ROWS = 256  # results of a file, or fewer in the last one
CHUNK = 2**20  # bytes that are copied together
SCHEMA = pa.schema(
    dict(
        video=pa.string(),
        labels=pa.list_(pa.int64()),
        names=pa.list_(pa.string()),
        scores=pa.list_(pa.float32()),
        unsure=pa.bool_(),
        features=pa.list_(pa.float32()),
        error=pa.string(),
        model=pa.string(),
    )
)


def expand(name: str) -> list:
    """Expand a name as for one machine, or an address by its filesystem."""
    if '://' not in name:
        return [os.path.abspath(path) for path in expand_local(name)]
    storage, path = fsspec.core.url_to_fs(name)
    if glob.has_magic(path):
        found = storage.glob(path)
    elif storage.isdir(path):
        found = filter(is_video, storage.find(path))
    else:
        return [name]
    names = [storage.unstrip_protocol(each) for each in sorted(found)]
    if not names:
        raise ValueError(f'{name}: no videos there')
    return names


def local_copy(row: dict, folder: str, failed: dict) -> str:
    """Write the contents of a video, or what its address gives, to a file in a folder.

    Returns the file's name, or ``video`` itself if that names one; ``failed`` gets what went wrong.
    """
    name, content = row['video'], row.get('bytes')
    if content is None and '://' not in name:
        return name
    path = f'{folder}/{uuid.uuid4().hex}.mp4'  # MMAction2 wants a suffix
    try:
        with fsspec.open(name) if content is None else io.BytesIO(content) as source:
            _copy(source, path)
    except (OSError, ValueError) as error:  # of any filesystem
        failed[path] = str(error).partition('\n')[0]
        Path(path).unlink(missing_ok=True)
    return path


def _copy(source, path):
    left = DEFAULT.max_bytes  # counted, as a file need not have the size that it says
    with open(path, 'wb') as copy:
        while chunk := source.read(CHUNK):
            left -= len(chunk)
            if left < 0:
                raise VideoError(f'more than {DEFAULT.max_bytes:,} bytes; cut it')
            copy.write(chunk)


class Results(Datasink):
    """Folder of files; each is whole or not there.

    Args:
        out (str): Folder or address.
        model (str): Fingerprint of what makes the results; each row holds it.
        form (str): 'parquet' or 'jsonl'.
    """

    def __init__(self, out: str, model: str, form: str) -> None:
        self.out, self.model, self.form = out, model, form
        self.storage, self.folder = fsspec.core.url_to_fs(out)
        self.run = uuid.uuid4().hex[:12]
        self.written = self.failed = 0

    @property
    def min_rows_per_write(self) -> int:
        """Rows that Ray gathers for a file."""
        return ROWS

    def read(self) -> pa.Table:
        """Read which videos have results: ``video``, and ``error`` or null."""
        files = self.storage.glob(f'{self.folder}/[!_]*.{self.form}')
        form = 'json' if self.form == 'jsonl' else self.form
        dataset = pads.dataset(files, SCHEMA, form, self.storage)
        there = dataset.to_table(['video', 'error', 'model'])
        if set(there['model'].unique().to_pylist()) - {self.model}:
            raise ValueError(
                f'{self.out} holds results of another config, checkpoint, label map or top-k; '
                'give another --out, or remove it'
            )
        return there

    def make_folder(self) -> None:
        """Make the folder, and remove the files that a killed run left unfinished."""
        self.storage.makedirs(self.folder, exist_ok=True)
        for part in self.storage.glob(f'{self.folder}/_????????????-??????.{self.form}'):
            self.storage.rm(part)

    def write(self, blocks: Iterable, ctx: Any) -> tuple:
        """Write blocks to a file, whose name a repetition of the task gives again."""
        results = pa.concat_tables([SCHEMA.empty_table(), *filter(len, blocks)])
        if len(results):
            name = f'{self.run}-{ctx.task_idx:06}.{self.form}'
            part = f'{self.folder}/_{name}'  # readers of a folder skip names that begin with _
            with self.storage.open(part, 'wb') as file:
                if self.form == 'parquet':
                    pq.write_table(results, file)
                else:
                    for row in results.to_pylist():
                        row = {key: value for key, value in row.items() if value is not None}
                        file.write(f'{json.dumps(row, ensure_ascii=False)}\n'.encode())
            self.storage.mv(part, f'{self.folder}/{name}')
        return len(results), len(results) - results['error'].null_count

    def on_write_complete(self, write_result: Any) -> None:
        """Add up the rows of all tasks."""
        self.written = sum(rows for rows, _ in write_result.write_returns)
        self.failed = sum(failed for _, failed in write_result.write_returns)
