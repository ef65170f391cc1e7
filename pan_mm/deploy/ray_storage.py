"""Videos at addresses, and results of a Ray cluster, on any filesystem of pyarrow."""

import glob
import json
import os
import posixpath
import shutil
import uuid
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from fsspec.implementations.arrow import ArrowFSWrapper
from pyarrow.fs import FileSelector, FileSystem, FileType
from ray.data import Datasink

from pan_mm.datasets.container import DEFAULT
from pan_mm.inference.videos import expand_local, is_video
from pan_mm.utils.errors import VideoError

ROWS = 256  # results of a file, as far as there are so many
SETTINGS = '_settings.json'  # readers of a folder of results skip names that begin with _
SCHEMA = pa.schema(
    dict(
        video=pa.string(),
        labels=pa.list_(pa.int64()),
        names=pa.list_(pa.string()),
        scores=pa.list_(pa.float32()),
        unsure=pa.bool_(),
        features=pa.list_(pa.float32()),
        error=pa.string(),
    )
)


def read_names(found: list) -> tuple:
    """Read the names in Parquet files, besides the names that are there.

    Args:
        found (list[str]): Names of videos and of Parquet files with a column ``video``.

    Returns:
        tuple: A table with the column ``video``, and one of the row groups, ``table`` and
        ``group``, of those files that have a column ``bytes`` too, for :func:`read_contents`.

    Raises:
        ValueError: If a Parquet file has no column ``video``.
    """
    names = pa.table(dict(video=pa.array((n for n in found if not _is_table(n)), pa.string())))
    groups = []
    for name in filter(_is_table, found):
        with _open_table(name) as table:
            columns = table.schema_arrow.names
            if 'video' not in columns:
                raise ValueError(f'{name}: has no column "video", only {", ".join(columns)}')
            if 'bytes' in columns:
                groups += [dict(table=name, group=n) for n in range(table.num_row_groups)]
            else:
                more = table.read(columns=['video']).cast(names.schema)
                names = pa.concat_tables([names, more])
    return names, pa.Table.from_pylist(groups)


def read_contents(groups: pa.Table) -> Iterator[pa.Table]:
    """Read row groups that :func:`read_names` listed; yields ``video`` and ``bytes`` of each."""
    for row in groups.to_pylist():
        with _open_table(row['table']) as table:
            yield table.read_row_group(row['group'], columns=['video', 'bytes'])


def _open_table(name):
    filesystem, path = FileSystem.from_uri(name)
    return pq.ParquetFile(path, filesystem=filesystem)


def _is_table(name):
    return name.endswith('.parquet')


def expand(name: str) -> list:
    """Expand a name as for one machine, or an address by its filesystem.

    Raises:
        OSError: If the storage cannot be read.
        ValueError: If there are no videos.
    """
    if '://' not in name:
        return [os.path.abspath(path) for path in expand_local(name)]
    filesystem, path = FileSystem.from_uri(name)
    storage = ArrowFSWrapper(filesystem)
    if glob.has_magic(path):
        found = storage.glob(path)
    elif filesystem.get_file_info(path).type == FileType.Directory:
        found = filter(is_video, storage.find(path))
    else:
        return [name]
    address, mark, query = name.partition('?')
    head = unquote(address).rstrip('/').removesuffix(path)
    if not (names := [f'{head}{quote(each)}{mark}{query}' for each in sorted(found)]):
        raise ValueError(f'{name}: no videos there')
    return names


def local_copy(row: dict, folder: str, failed: dict) -> str:
    """Write the contents of a video, or what its address gives, to a file in a folder.

    Args:
        row (dict): ``video``, a name or an address, and perhaps ``bytes``.
        folder (str): Where the file goes.
        failed (dict[str, str]): Gets what went wrong, by the file's name.

    Returns:
        str: The file, or ``video`` itself if that names one.
    """
    name, content = row['video'], row.get('bytes')
    if content is None and '://' not in name:
        return name
    path = f'{folder}/{uuid.uuid4().hex}.mp4'  # MMAction2 wants a suffix
    try:
        if content is None:
            _fetch(name, path)
        else:
            Path(path).write_bytes(content)
    except (OSError, VideoError, ValueError) as error:  # of any filesystem
        failed[path] = str(error).partition('\n')[0]
    return path


def _fetch(address, path):
    parts = urlsplit(address)
    folder, name = posixpath.split(parts.path)
    filesystem, place = _filesystem(urlunsplit(parts._replace(path=folder)))
    with filesystem.open_input_file(f'{place}/{unquote(name)}') as source:
        if source.size() > DEFAULT.max_bytes:
            raise VideoError(f'more than {DEFAULT.max_bytes:,} bytes; cut it')
        with open(path, 'wb') as copy:
            shutil.copyfileobj(source, copy)


_filesystem = lru_cache(FileSystem.from_uri)  # connecting to a storage takes a while


class Shards(Datasink):
    """Writes a folder of results, each file of which is whole or not there.

    Args:
        out (str): Folder or address.
        form (str): 'parquet' or 'jsonl'.
        model (str): Fingerprint of what makes the results.

    Attributes:
        written (int): Rows, when the job is done.
        failed (int): Those with an error.
    """

    def __init__(self, out: str, form: str, model: str) -> None:
        self.out, self.form = out, form
        self.settings = dict(model=model, format=form)
        self.filesystem, self.folder = FileSystem.from_uri(
            out if '://' in out else os.path.abspath(out)
        )
        self.run = uuid.uuid4().hex[:12]
        self.written = self.failed = 0

    @property
    def min_rows_per_write(self) -> int:
        """Rows that Ray gathers for a file."""
        return ROWS

    def videos(self) -> pa.Array:
        """Read which videos have results.

        Raises:
            ValueError: If the folder holds anything else, or results of other settings.
        """
        selector = FileSelector(self.folder, allow_not_found=True)
        files = [info.path for info in self.filesystem.get_file_info(selector)]
        names = set(map(posixpath.basename, files))
        if names and SETTINGS not in names:
            raise ValueError(f'{self.out}: holds other files; give --out a new folder')
        if not names:
            return pa.array([], pa.string())
        with self.filesystem.open_input_file(f'{self.folder}/{SETTINGS}') as file:
            if json.loads(file.read()) != self.settings:
                raise ValueError(
                    f'{self.out} holds results of another config, checkpoint, label map, top-k or '
                    'format; give another --out, or remove it'
                )
        shards = [path for path in files if not posixpath.basename(path).startswith('_')]
        kind = dict(parquet='parquet', jsonl='json')[self.form]
        there = pads.dataset(shards, SCHEMA, kind, self.filesystem).to_table(['video'])
        return there['video'].combine_chunks()

    def begin(self) -> None:
        """Make the folder, and remove what a killed run left unfinished."""
        self.filesystem.create_dir(self.folder, recursive=True)
        for info in self.filesystem.get_file_info(FileSelector(self.folder)):
            if info.base_name.startswith('_') and info.base_name != SETTINGS:
                self.filesystem.delete_file(info.path)
        self._write(SETTINGS, lambda file: file.write(json.dumps(self.settings).encode()))

    def write(self, blocks: Iterable, ctx: Any) -> tuple:
        """Write blocks to a file, whose name a repetition of the task gives again."""
        results = pa.concat_tables([SCHEMA.empty_table(), *filter(len, blocks)])
        if len(results):
            name = f'{self.run}-{ctx.task_idx:06}.{self.form}'
            self._write(name, lambda file: self._fill(file, results))
        return len(results), len(results) - results['error'].null_count

    def _fill(self, file, results):
        if self.form == 'parquet':
            pq.write_table(results, file)
            return
        for row in results.to_pylist():
            file.write(f'{json.dumps(row, ensure_ascii=False)}\n'.encode())

    def _write(self, name, fill):
        part = f'{self.folder}/_{name}'
        with self.filesystem.open_output_stream(part) as file:
            fill(file)
        self.filesystem.move(part, f'{self.folder}/{name}')

    def on_write_complete(self, write_result: Any) -> None:
        """Add up what the tasks wrote."""
        for rows, failed in write_result.write_returns:
            self.written += rows
            self.failed += failed
