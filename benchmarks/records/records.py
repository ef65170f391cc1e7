"""Records of runs: two small files that a finished run leaves in a folder of its dataset.

``NAME.json`` tells what was run, and in what it differs from the config that it names: settings,
lists and seed. ``NAME.npz`` holds the clips, the scores as they left the model (float32) and the
curve of the training. Where the JSON has ``score_digits``, the scores were rounded to so many
digits before they were kept; then two classes of a clip can tie, of which the first counts.
"""

import json
import zipfile
import zlib
from collections import Counter
from pathlib import Path
from typing import NamedTuple, Optional, Union

import numpy as np

from pan_mm.inference.score_fusion import accuracies
from pan_mm.utils.files import atomic_write

from .runs import ReportError
from .settings import find_config, record_name, settings_of_config, split_name

LABELS = ('top1', 'top5', 'mean_class')


class Record(NamedTuple):
    """What one run left.

    Attributes:
        path (Path): Its JSON file.
        info (dict): What that tells (see :func:`benchmarks.records.collect.collect_run`), and
            ``split``, of :func:`benchmarks.records.settings.split_name`.
        changes (dict): Settings in which the run differs from its config in this repository.
        clips (list[tuple]): Name and label of each test clip.
        scores (np.ndarray): Logits of the test clips, float32, shape (N, num_classes).
        backwards (np.ndarray, optional): The same of the clips played backwards.
        curve (dict[str, np.ndarray]): Logged values of the training, such as ``loss``, by step.
    """

    path: Path
    info: dict
    changes: dict
    clips: list
    scores: np.ndarray
    backwards: Optional[np.ndarray]
    curve: dict

    @property
    def labels(self) -> np.ndarray:
        return np.array([label for _, label in self.clips])

    @property
    def accuracies(self) -> dict:
        return accuracies(self.scores, self.labels)


def write_record(record: Record) -> None:
    """Write the two files of a record.

    Raises:
        ReportError: If a record of other settings lies there, or records of another dataset.
        OSError: If the files cannot be written.
    """
    path, info = record.path, record.info
    for other in sorted(path.parent.glob('[!.]*.json')):
        there = json.loads(other.read_text(encoding='utf-8'))
        if _dataset(there) != _dataset(info):
            raise ReportError(
                f'the run is of {_dataset(info)}, {path.parent} holds records of {_dataset(there)}'
            )
        if other == path and there['changes'] != record.changes:
            raise ReportError(f'{path} is there, of a run with other settings; remove it first')
    arrays = {f'curve_{key}': values for key, values in record.curve.items()}
    arrays['clips'] = np.array([name for name, _ in record.clips])
    arrays['labels'] = record.labels.astype(np.int32)
    arrays['scores'] = record.scores
    if record.backwards is not None:
        arrays['backwards'] = record.backwards
    text = dict(info, changes=record.changes)
    del text['split']  # the lists imply it
    lines = [f' {json.dumps(key)}: {json.dumps(value)}' for key, value in text.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path.with_suffix('.npz')) as part:
        np.savez_compressed(part, **arrays)
    with atomic_write(path) as part:
        Path(part).write_text('{\n' + ',\n'.join(lines) + '\n}\n', encoding='utf-8')


def _dataset(info):
    return info['config'].rpartition('_')[2]  # configs name it last


def read_record(path: Union[str, Path], configs: Union[str, Path]) -> Record:
    """Read a record back.

    Args:
        path (str | Path): Its JSON file.
        configs (str | Path): The configs of this repository.

    Raises:
        ReportError: If files are missing, damaged, or contradict each other or the config.
    """
    path = Path(path)
    try:
        info = json.loads(path.read_text(encoding='utf-8'))
        with np.load(path.with_suffix('.npz')) as file:
            arrays = dict(file)
        labels = arrays['labels'].tolist()
        record = Record(
            path,
            info,
            info.pop('changes'),
            list(zip(arrays['clips'].tolist(), labels)),
            arrays['scores'],
            arrays.get('backwards'),
            {key[6:]: values for key, values in arrays.items() if key.startswith('curve_')},
        )
        _check(record, configs)
        return record
    except ReportError as error:
        raise ReportError(f'{path}: {error}') from error
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ReportError(f'{path} is not a whole record of a run: {error}') from error


def _check(record, configs):
    """Refuse a record that its config, its name or its scores contradict; tell its split."""
    info = record.info
    _, config_hash, lists = settings_of_config(find_config(configs, info['config']))
    if config_hash != info['config_hash']:
        raise ReportError(
            f'{info["config"]} is not as it was when this was run ({config_hash}, not '
            f'{info["config_hash"]}); run again, or change the hash where it still means the same'
        )
    info['split'] = split_name(info['lists'], lists)
    name = record_name(info, record.changes)
    if name != record.path.stem:
        raise ReportError(f'by its config, split, settings and seed its name should be {name}')
    own = {key: round(v, 2) for key, v in record.accuracies.items()}
    if own != {key: info[key] for key in LABELS}:
        raise ReportError('the JSON does not tell the accuracy of the scores')
    if record.backwards is not None and record.backwards.shape != record.scores.shape:
        raise ReportError('scores forwards and backwards are not of the same clips')


def read_records(folder: Union[str, Path], configs: Union[str, Path]) -> tuple:
    """Read all records in a folder that belong together.

    Returns:
        tuple: Records, and texts that name those left out: damaged ones, those whose name, config,
        split or seed do not fit, those of another dataset or of other clips than most of their
        split, and those of one checkpoint under several names.
    """
    records, problems = [], []
    for path in sorted(Path(folder).glob('[!.]*.json')):
        try:
            records.append(read_record(path, configs))
        except ReportError as error:
            problems.append(str(error))

    def keep_usual(group, what, message):
        if not group:
            return
        usual, _ = Counter(map(what, group)).most_common(1)[0]
        for record in group:
            if what(record) != usual:
                records.remove(record)
                problems.append(f'{record.path} {message}')

    keep_usual(records[:], lambda r: _dataset(r.info), 'is of another dataset than most')
    for split in sorted({record.info['split'] for record in records}):
        group = [record for record in records if record.info['split'] == split]
        keep_usual(group, lambda r: tuple(sorted(r.clips)), 'was tested on other clips than most')
    hashes = [record.info.get('checkpoint', {}).get('sha256') for record in records]
    for record, sha256 in list(zip(records, hashes)):
        if sha256 and hashes.count(sha256) > 1:
            records.remove(record)
            problems.append(f'{record.path} is of the same checkpoint as another record')
    return records, problems
