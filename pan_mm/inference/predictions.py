"""Results of recognition as a table, JSON, JSON lines or CSV."""

import csv
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Union

from pan_mm.utils.errors import escape
from pan_mm.utils.files import append_text

FORMATS = ('table', 'json', 'jsonl', 'csv')


def write_results(results: Iterable, file: IO, form: str, videos: Iterable = ()) -> None:
    """Write results to an open text file, as they come.

    Args:
        results (Iterable[dict]): As :meth:`PANInferencer.iterate` yields them.
        file (IO): Opened with ``errors=ENCODING_ERRORS``, for CSV with ``newline=''``.
        form (str): One of ``FORMATS``. CSV has a row per class of a video; JSON is one array,
            written at the end.
        videos (Iterable[str]): All names that will come, for the width of the table's column.
    """
    if form == 'json':
        json.dump(list(results), file, ensure_ascii=False, allow_nan=False, indent=1)
        return
    rows = csv.writer(file)
    width = max((len(escape(video)) for video in videos), default=0)
    if form == 'csv':
        rows.writerow(['video', 'rank', 'label', 'name', 'score', 'error', 'unsure'])
    for result in results:
        if form == 'csv':
            rows.writerows(map(_no_formulas, _csv_rows(result)))
        elif form == 'jsonl':
            file.write(json.dumps(result, ensure_ascii=False, allow_nan=False) + '\n')
        else:
            file.write(f'{escape(result["video"]):{width}}  {_table_text(result)}\n')
        file.flush()


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


def fingerprint_of(inferencer, checkpoint: str, optimize: Iterable, features: bool = False) -> str:
    """Hash what makes the results of a model; later runs with the same may add to them."""
    weights = checkpoint.encode() if '://' in checkpoint else Path(checkpoint).read_bytes()
    settings = (
        inferencer.config.pretty_text,
        inferencer.classes,
        inferencer.topk,
        inferencer.threshold,
        'half' in (optimize or ()),  # it changes scores
        features,
        hashlib.sha256(weights).hexdigest(),
    )
    return hashlib.sha256(repr(settings).encode()).hexdigest()[:16]


def read_done(path: Union[str, Path], model: str) -> dict:
    """Read which videos are in a file of :func:`append_results`, and whether each failed.

    Half a line at its end, of a run that was killed, is cut off.

    Raises:
        ValueError: If the file holds lines of another model, or is not a file of results.
    """
    content = Path(path).read_bytes() if os.path.exists(path) else b''
    whole = content[: content.rfind(b'\n') + 1]
    done = {}
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            record = json.loads(line)
            video, other = record['video'], record['model'] != model
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f'{path}:{number}: not a result of an earlier run; give another --out'
            ) from error
        if other:
            raise ValueError(
                f'{path} holds results of another config, checkpoint, label map or top-k; '
                'give another --out, or remove it'
            )
        done[video] = 'error' in record
    if len(whole) < len(content):
        os.truncate(path, len(whole))
    return done


def append_results(path: Union[str, Path], results: Iterable, model: str) -> None:
    """Append each result as it comes, a JSON line per video with the fingerprint of the model."""
    with append_text(path) as file:
        write_results((dict(result, model=model) for result in results), file, 'jsonl')
