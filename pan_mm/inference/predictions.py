"""Files of recognition results: JSON, JSON lines, CSV, Parquet, and a table for people."""

import csv
import glob
import hashlib
import importlib.util
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Union

import numpy as np
from filelock import FileLock, Timeout

from pan_mm.utils.files import atomic_write

FORMATS = ('table', 'json', 'jsonl', 'csv', 'parquet')
FEATURE_FORMATS = ('npz', 'json', 'jsonl')
# File names that are not UTF-8 are written with \udcXX for each such byte, as JSON allows.
ENCODING_ERRORS = 'backslashreplace'
LOCK_WAIT = 6  # seconds; data workers of a killed run outlive it by 5


@contextmanager
def locked(*paths: Path) -> Iterator[None]:
    """Keep other runs from writing the same files of results.

    Raises:
        ValueError: If another run writes one of them.
    """
    with ExitStack() as locks:
        for path in paths:
            path = Path(os.path.realpath(path))
            if path.exists() and not path.is_file():  # such as /dev/null
                continue
            try:
                locks.enter_context(FileLock(path.with_name(f'.{path.name}.lock'), LOCK_WAIT))
            except Timeout as error:
                raise ValueError(
                    f'{path}: another run is writing it; wait for its end, or give another --out'
                ) from error
        yield


def write_results(results: Iterable, file: IO, form: str, videos: Iterable = ()) -> None:
    """Write results to an open text file, as they come (JSON: at the end).

    Args:
        results (Iterable[dict]): As :meth:`PANInferencer.iterate` yields them.
        file (IO): Opened for text in UTF-8, with ``errors=ENCODING_ERRORS``; for CSV with
            ``newline=''``.
        form (str): One of ``FORMATS`` but Parquet. CSV has a row per class of a video.
        videos (Iterable[str]): All names that will come, for the width of the table's column.
    """
    if form == 'json':
        json.dump(list(results), file, indent=2, ensure_ascii=False, allow_nan=False)
        file.write('\n')
    elif form == 'jsonl':
        for result in results:
            file.write(_json_line(result))
            file.flush()
    elif form == 'csv':
        rows = csv.writer(file)
        rows.writerow(['video', 'rank', 'label', 'name', 'score', 'error'])
        for result in results:
            for rank, item in enumerate(result.get('top', ()), 1):
                score = f'{item["score"]:.6f}'
                rows.writerow([result['video'], rank, item['label'], item['name'], score, ''])
            if 'error' in result:
                rows.writerow([result['video'], '', '', '', '', result['error']])
            file.flush()
    else:
        width = max((len(video) for video in videos), default=0)
        for result in results:
            top = (f'{100 * item["score"]:5.1f} % {item["name"]}' for item in result.get('top', ()))
            text = f'error: {result["error"]}' if 'error' in result else '   '.join(top)
            file.write(f'{result["video"]:{width}}  {text}\n')
            file.flush()


def _json_line(result: dict) -> str:
    return json.dumps(result, ensure_ascii=False, allow_nan=False) + '\n'


def write_features(results: Iterable, path: str) -> None:
    """Write features as arrays: ``video`` (N,), ``features`` (N, C), ``error`` (N,).

    A video that failed has an error, and NaN for features.

    Args:
        results (Iterable[dict]): As :meth:`PANInferencer.iterate` yields them with ``features``.
        path (str): A name that ends in ``.npz``.
    """
    results = list(results)
    size = next((len(result['features']) for result in results if 'features' in result), 0)
    np.savez(
        path,
        video=[result['video'] for result in results],
        features=np.array([r.get('features', [np.nan] * size) for r in results], np.float32),
        error=[result.get('error', '') for result in results],
    )


def fingerprint(*parts) -> str:
    """Short name of what made some results: texts, and the contents of files (``Path``)."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.read_bytes() if isinstance(part, Path) else str(part).encode()
        digest.update(hashlib.sha256(data).digest())
    return digest.hexdigest()[:16]


class ShardedResults:
    """JSON lines that several processes write, and that outlive any of them being killed.

    Each process writes a file of its own, ``NAME-RANK-of-WORLD_SIZE.jsonl`` (``NAME.jsonl`` if
    there is one process), a whole line per video. A later run, also with another number of
    processes, reads all the files of this NAME and leaves out what is in them. Until it is closed
    (it is a context manager) no other run may write them.

    Args:
        path (str | Path): ``NAME.jsonl``.
        model (str): Fingerprint of what makes the results; each line holds it.
        rank (int): Number of this process. Defaults to 0.
        world_size (int): Number of processes. Defaults to 1.

    Raises:
        ValueError: If the files hold lines of another model, are not results, or another run
            writes them.
    """

    def __init__(self, path: Path, model: str, rank: int = 0, world_size: int = 1) -> None:
        path = Path(path)
        self.model = model
        self.rank = rank
        self.world_size = world_size
        self.path = shard_path(path, rank, world_size)
        self.done = {}  # video: whether it failed
        self._shards = [self.path]  # that this process handles
        shards = path.parent.glob(f'{glob.escape(path.stem)}-*-of-*{glob.escape(path.suffix)}')
        found = [shard for shard in sorted({path, *shards}) if shard.is_file()]
        if rank == 0:  # no other process would complete what a run with more processes left behind
            own = [shard_path(path, number, world_size) for number in range(world_size)]
            self._shards += [shard for shard in found if shard not in own]
        self._locks = ExitStack()
        self._locks.enter_context(locked(*self._shards))
        try:
            for shard in dict.fromkeys([*found, *self._shards]):
                if not shard.is_file():
                    continue
                self._read(shard)
                if shard in self._shards:
                    _cut_half_line(shard)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> 'ShardedResults':
        return self

    def __exit__(self, *args) -> None:
        self.close()

    def close(self) -> None:
        """Let other runs write the files."""
        self._locks.close()

    def _read(self, path):
        for number, line in enumerate(_complete_lines(path), 1):
            try:
                record = json.loads(line)
                video, model = record['video'], record['model']
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f'{path}:{number}: no result of an earlier run; give another --out'
                ) from error
            if model != self.model:
                raise ValueError(
                    f'{path} holds results of another config, checkpoint, label map or top-k; '
                    'give another --out, or remove it'
                )
            self.done[video] = 'error' in record

    def share(self, videos: Iterable) -> list:
        """The videos that are this process's to do, done or not; each is one process's only."""
        return [v for v in videos if zlib.crc32(os.fsencode(v)) % self.world_size == self.rank]

    def write(self, results: Iterable) -> None:
        """Append each result as it comes."""
        with self.path.open('a', -1, 'utf-8', ENCODING_ERRORS, '\n') as file:
            for result in results:
                file.write(_json_line(dict(result, model=self.model)))
                file.flush()
                self.done[result['video']] = 'error' in result

    def to_parquet(self) -> None:
        """Write each file of lines that this process looks after as Parquet beside it."""
        for shard in self._shards:
            if shard.is_file():
                write_parquet(shard, shard.with_suffix('.parquet'))


def shard_path(path: Path, rank: int, world_size: int) -> Path:
    """File that one of ``world_size`` processes writes."""
    if world_size == 1:
        return path
    return path.with_name(f'{path.stem}-{rank:05d}-of-{world_size:05d}{path.suffix}')


def has_parquet() -> bool:
    """Whether pyarrow is installed."""
    return importlib.util.find_spec('pyarrow') is not None


def write_parquet(lines: Path, out: Union[str, Path], batch: int = 10000) -> None:
    """Write results from JSON lines as Parquet, all or nothing.

    Args:
        lines (Path): JSON lines.
        out (str | Path): Gets the columns ``video``, ``model``, ``error`` (null if none) and
            ``top``, a list of (label, name, score).
        batch (int): Rows that are in memory at once. Defaults to 10000.
    """
    import pyarrow
    import pyarrow.parquet

    item = pyarrow.struct(
        [('label', pyarrow.int32()), ('name', pyarrow.string()), ('score', pyarrow.float64())]
    )
    text = pyarrow.string()
    schema = pyarrow.schema(
        [('video', text), ('model', text), ('error', text), ('top', pyarrow.list_(item))]
    )
    records = map(_parquet_row, _complete_lines(lines))
    with atomic_write(out) as part, pyarrow.parquet.ParquetWriter(part, schema) as writer:
        while rows := list(islice(records, batch)):
            writer.write_table(pyarrow.Table.from_pylist(rows, schema))


def _parquet_row(line):
    """A result whose names are UTF-8, the only text that Parquet has."""
    record = json.loads(line)
    for key in record.keys() & {'video', 'error'}:
        record[key] = record[key].encode(errors=ENCODING_ERRORS).decode()
    return record


def _complete_lines(path):
    """Lines of a file, without a last one that the writer could not finish."""
    with path.open('rb') as file:
        for line in file:
            if line.endswith(b'\n'):
                yield line


def _cut_half_line(path):
    os.truncate(path, sum(map(len, _complete_lines(path))))
