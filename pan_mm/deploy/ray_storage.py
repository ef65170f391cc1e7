"""Videos at addresses, and results of a Ray cluster, on any filesystem of pyarrow."""

import glob
import io
import json
import os
import posixpath
import re
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
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
from pan_mm.utils.addresses import redact_url
from pan_mm.utils.errors import VideoError

ROWS = 256  # results of a file, as far as there are so many
SETTINGS = '_settings.json'  # readers of a folder of results skip names that begin with _
SETTINGS_BYTES = 500  # at most
GROUP_BYTES = 2**31  # of a row group, which a task reads as a whole, at most
CHUNK = 2**20  # bytes that are copied together
COLUMNS = dict(
    video=(pa.string(), pa.large_string(), pa.string_view()),
    bytes=(pa.binary(), pa.large_binary(), pa.binary_view()),
)
SCHEMA = pa.schema(
    dict(
        video=pa.string(),
        labels=pa.list_(pa.int64()),
        names=pa.list_(pa.string()),
        scores=pa.list_(pa.float32()),
        unsure=pa.bool_(),
        error=pa.string(),
    )
)


def read_names(found: list) -> tuple:
    """Read the names in Parquet files, besides the names that are there.

    Args:
        found (list[str]): Names of videos and of Parquet files with a column ``video``.

    Returns:
        tuple: A table with the column ``video``, and one of those row groups whose file has a
        column ``bytes`` too, for :func:`read_contents`. Each name is there once, with ``***`` for
        a password in it; rows without a name are left out.

    Raises:
        ValueError: If a Parquet file has no column ``video``, columns of other types, or too
            large row groups.
    """
    names = dict.fromkeys(name for name in found if not _is_table(name))
    seen, groups = set(names), []
    for name in filter(_is_table, found):
        with _open_table(name) as table:
            _check_table(name, table)
            has_contents = 'bytes' in table.schema_arrow.names
            for group in range(table.num_row_groups):
                rows = _new_rows(table.read_row_group(group, ['video'])['video'], seen)
                if not has_contents:
                    names.update(dict.fromkeys(rows))
                elif rows:
                    more = dict(names=list(rows), rows=list(rows.values()))
                    groups.append(dict(table=name, group=group, **more))
    return pa.table(dict(video=pa.array(names, pa.string()))), pa.Table.from_pylist(groups)


def _check_table(name, table):
    schema, metadata = table.schema_arrow, table.metadata
    if 'video' not in schema.names:
        raise ValueError(f'{name}: has no column "video", only {", ".join(schema.names)}')
    for column in set(COLUMNS).intersection(schema.names):
        kind = schema.field(column).type
        if (kind.value_type if pa.types.is_dictionary(kind) else kind) not in COLUMNS[column]:
            expected = COLUMNS[column][0]
            raise ValueError(f'{name}: the column "{column}" is {kind}, and must be {expected}')
    sizes = (metadata.row_group(n).total_byte_size for n in range(metadata.num_row_groups))
    if (size := max(sizes, default=0)) > GROUP_BYTES:
        raise ValueError(
            f'{name}: has a row group of {size:,} bytes, and at most {GROUP_BYTES:,} are allowed; '
            'write it with smaller row groups'
        )


def _new_rows(column, seen):
    """Find the row of each name that is not among those seen, and add it to them."""
    rows = {}
    for row, name in enumerate(map(redact_url, column.cast(pa.string()).fill_null('').to_pylist())):
        if name and name not in seen:
            rows[name] = row
            seen.add(name)
    return rows


def read_contents(groups: pa.Table) -> Iterator[pa.Table]:
    """Read row groups that :func:`read_names` listed; yields ``video`` and ``bytes`` of each."""
    for row in groups.to_pylist():
        with _open_table(row['table']) as table:
            contents = table.read_row_group(row['group'], ['bytes']).take(row['rows'])
            contents = contents.cast(pa.schema(dict(bytes=pa.large_binary())))
            yield contents.add_column(0, 'video', [row['names']])


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
        if '://' in name and '***' in name:  # as read_names shows it
            raise VideoError('name videos without a password, which results would show')
        with _fetch(name) if content is None else io.BytesIO(content) as source:
            _copy(source, path)
    except (OSError, ValueError) as error:  # of any filesystem
        failed[path] = str(error).partition('\n')[0]
        Path(path).unlink(missing_ok=True)
    return path


def _fetch(address):
    parts = urlsplit(address)
    folder, name = posixpath.split(parts.path)
    filesystem, place = _filesystem(urlunsplit(parts._replace(path=folder)))
    place = f'{place}/{unquote(name)}'
    if filesystem.get_file_info(place).type not in (FileType.File, FileType.NotFound):
        raise VideoError('is not a regular file')
    return filesystem.open_input_file(place)


def _copy(source, path):
    left = DEFAULT.max_bytes  # counted, as a file need not have the size that it says
    with open(path, 'wb') as copy:
        while chunk := source.read(CHUNK):
            left -= len(chunk)
            if left < 0:
                raise VideoError(f'more than {DEFAULT.max_bytes:,} bytes; cut it')
            copy.write(chunk)


_filesystem = lru_cache(FileSystem.from_uri)  # connecting to a storage takes a while


class Shards(Datasink):
    """Writes a folder of results, each file of which is whole or not there.

    Args:
        out (str): Folder or address.
        form (str): 'parquet' or 'jsonl'.
        model (str): Fingerprint of what makes the results.

    Raises:
        ValueError: If ``out`` holds a password.

    Attributes:
        written (int): Rows, when the job is done.
        failed (int): Those with an error.
    """

    def __init__(self, out: str, form: str, model: str) -> None:
        if redact_url(out) != out:
            raise ValueError(
                f'{redact_url(out)}: give --out without a password; take credentials from the '
                'environment'
            )
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

    def videos(self) -> pa.Table:
        """Read which videos have results: ``video``, and ``error`` or null.

        Raises:
            ValueError: If ``out`` is a file, holds anything else, or results of other settings.
        """
        kind = self.filesystem.get_file_info(self.folder).type
        if kind not in (FileType.Directory, FileType.NotFound):
            raise ValueError(
                f'{self.out}: is a file, and with --ray --out is a folder; for JSON lines in it, '
                'give --format jsonl'
            )
        selector = FileSelector(self.folder, allow_not_found=True)
        files = {info.base_name: info for info in self.filesystem.get_file_info(selector)}
        if files:
            self._check_settings(files.get(SETTINGS))
        return self._read([info.path for name, info in files.items() if not name.startswith('_')])

    def _check_settings(self, info):
        if info is None:
            raise ValueError(f'{self.out}: holds other files; give --out a new folder')
        settings = None
        if info.type is FileType.File:  # reading anything else might never end
            with self.filesystem.open_input_file(info.path) as file, suppress(ValueError):
                settings = json.loads(file.read(SETTINGS_BYTES))
        if not isinstance(settings, dict) or settings.keys() != self.settings.keys():
            raise ValueError(f'{info.path}: not written by predict; give --out a new folder')
        if settings != self.settings:
            raise ValueError(
                f'{self.out} holds results of another config, checkpoint, label map, top-k or '
                'format; give another --out, or remove it'
            )

    def _read(self, shards):
        kind = dict(parquet='parquet', jsonl='json')[self.form]
        dataset = pads.dataset(shards, SCHEMA, kind, self.filesystem)
        there = dataset.to_table(['video', 'error'])
        if there['video'].null_count:
            parts = dataset.get_fragments()
            other = (part.path for part in parts if 'video' not in part.physical_schema.names)
            raise ValueError(
                f'{next(other, self.out)}: has rows without "video"; remove it, or give --out a '
                'new folder'
            )
        return there

    def begin(self) -> None:
        """Make the folder, and remove what a killed run left unfinished."""
        self.filesystem.create_dir(self.folder, recursive=True)
        for info in self.filesystem.get_file_info(FileSelector(self.folder)):
            if re.fullmatch(rf'_[0-9a-f]{{12}}-[0-9]{{6,}}\.{self.form}', info.base_name):
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
