"""Results of recognition as a table, JSON lines or CSV, and features as arrays."""

import csv
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import numpy as np
from filelock import FileLock, Timeout

from pan_mm.utils.errors import escape
from pan_mm.utils.files import append_text, atomic_write

FORMATS = ('table', 'jsonl', 'csv')
FEATURE_FORMATS = ('npz', 'jsonl')
LOCK_WAIT = 6  # seconds; data workers of a killed run outlive it by 5


def write_results(results: Iterable, file: IO, form: str, videos: Iterable = ()) -> None:
    """Write results to an open text file, as they come.

    Args:
        results (Iterable[dict]): As :meth:`PANInferencer.iterate` yields them.
        file (IO): Opened for text in UTF-8, with ``errors=ENCODING_ERRORS`` of
            :mod:`pan_mm.utils.files`; for CSV with ``newline=''``.
        form (str): One of ``FORMATS``. CSV has a row per class of a video.
        videos (Iterable[str]): All names that will come, for the width of the table's column.
    """
    rows = csv.writer(file)
    width = max((len(escape(video)) for video in videos), default=0)
    if form == 'csv':
        rows.writerow(['video', 'rank', 'label', 'name', 'score', 'error', 'unsure'])
    for result in results:
        if form == 'csv':
            rows.writerows(map(_no_formulas, _csv_rows(result)))
        elif form == 'jsonl':
            file.write(_json_line(result))
        else:
            file.write(f'{escape(result["video"]):{width}}  {_table_text(result)}\n')
        file.flush()


def _json_line(result: dict) -> str:
    return json.dumps(result, ensure_ascii=False, allow_nan=False) + '\n'


def _csv_rows(result):
    if 'error' in result:
        return [[result['video'], '', '', '', '', result['error'], '']]
    unsure = str(result['unsure']).lower() if 'unsure' in result else ''
    return [
        [result['video'], rank, item['label'], item['name'], f'{item["score"]:.6f}', '', unsure]
        for rank, item in enumerate(result['top'], 1)
    ]


def _no_formulas(row):
    """Mark as text what a spreadsheet would take for a formula."""
    return [f"'{cell}" if str(cell).startswith(tuple('=+-@\t\r')) else cell for cell in row]


def _table_text(result):
    if 'error' in result:
        return f'error: {escape(result["error"])}'
    text = '   '.join(
        f'{100 * item["score"]:5.1f} % {escape(item["name"])}' for item in result['top']
    )
    return f'unsure ({text.strip()})' if result.get('unsure') else text


def write_features(results: Iterable, path: str) -> None:
    """Write features as arrays: ``video`` (N,), ``features`` (N, C), ``error`` (N,).

    A video that failed has an error, and NaN for features.

    Args:
        results (Iterable[dict]): As :meth:`PANInferencer.iterate` yields them with ``features``.
        path (str): A name that ends in ``.npz``.
    """
    with atomic_write(path) as part:
        results = list(results)
        size = next((len(result['features']) for result in results if 'features' in result), 0)
        np.savez(
            part,
            video=[result['video'] for result in results],
            features=np.array([r.get('features', [np.nan] * size) for r in results], np.float32),
            error=[result.get('error', '') for result in results],
        )


def fingerprint(*parts) -> str:
    """Hash what made some results: texts, and the contents of files (``Path``)."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.read_bytes() if isinstance(part, Path) else str(part).encode()
        digest.update(hashlib.sha256(data).digest())
    return digest.hexdigest()[:16]


def fingerprint_of(inferencer, checkpoint: str, optimize: Iterable, features: bool) -> str:
    """Hash what makes the results of a :class:`PANInferencer`; later runs with it may add to them.

    Args:
        inferencer (PANInferencer): The model.
        checkpoint (str): File or URL of its weights.
        optimize (Iterable[str] | None): Its ``optimize``.
        features (bool): Whether it gives features instead of classes.
    """
    return fingerprint(
        inferencer.config.pretty_text,
        checkpoint if '://' in checkpoint else Path(checkpoint),
        inferencer.classes,
        inferencer.topk,
        inferencer.threshold,
        *(extra for extra in optimize or () if extra == 'half'),  # it changes scores
        *(['features'] if features else []),
    )


class ResultLog:
    """JSON lines that outlive a run that is killed: a whole line per video, as it comes.

    A later run leaves out the videos that are there. Until the log is closed (it is a context
    manager), no other run may write it.

    Args:
        path (str | Path): The file.
        model (str): Fingerprint of what makes the results; each line holds it.

    Attributes:
        done (dict[str, bool]): Whether a video failed, of each that is in the file.

    Raises:
        ValueError: If the file holds lines of another model or is not a file of results, or
            another run writes it.
    """

    def __init__(self, path: Path, model: str) -> None:
        self.path = Path(path)
        self.model = model
        self.done: dict = {}
        real = Path(os.path.realpath(path))
        self._lock = FileLock(real.with_name(f'.{real.name}.lock'), LOCK_WAIT)
        try:
            self._lock.acquire()
        except Timeout as error:
            raise ValueError(
                f'{path}: another run is writing it; wait for its end, or give another --out'
            ) from error
        try:
            self._read()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> 'ResultLog':
        return self

    def __exit__(self, *args) -> None:
        self.close()

    def close(self) -> None:
        """Let other runs write the file."""
        self._lock.release()

    def _read(self):
        content = self.path.read_bytes() if self.path.exists() else b''
        whole = content[: content.rfind(b'\n') + 1]
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                record = json.loads(line)
                video, model = record['video'], record['model']
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f'{self.path}:{number}: not a result of an earlier run; give another --out'
                ) from error
            if model != self.model:
                raise ValueError(
                    f'{self.path} holds results of another config, checkpoint, label map or top-k; '
                    'give another --out, or remove it'
                )
            self.done[video] = 'error' in record
        if len(whole) < len(content):  # the last line of a run that was killed
            os.truncate(self.path, len(whole))

    def write(self, results: Iterable) -> None:
        """Append each result as it comes."""
        with append_text(self.path) as file:
            for result in results:
                file.write(_json_line(dict(result, model=self.model)))
                file.flush()
                self.done[result['video']] = 'error' in result
