"""The table of runs and the scores beside it."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from benchmarks.runs import (
    METRICS,
    RESULTS,
    Run,
    accept_configs,
    add_run,
    compact,
    read_runs,
    read_table,
)
from benchmarks.settings import RunError, find_config, settings_of_config
from pan_mm.inference.score_fusion import accuracies

CONFIG = 'tsn_r18_1xb16-1x1x8-30e_utd-mhad-depth'


def make_run(seed=0, shift=0, backwards=False, **info):
    """A run of 54 clips; all are recognized, or with a shift none."""
    labels = np.arange(54) % 27
    scores = 5 * np.eye(27, dtype=np.float32)[(labels + shift) % 27]
    clips = np.array([f'{index:02}.mp4' for index in range(54)])
    reached = {key: round(value, 2) for key, value in accuracies(scores, labels).items()}
    fixed = dict(dataset='utd-mhad-depth', config=CONFIG, changes={}, split='test')
    fixed.update(train_list='train.txt', test_list='test.txt', seed=seed, epochs=30)
    config_hash = settings_of_config(find_config(CONFIG))[1]
    fixed.update(run=f'tsn_seed{seed}', config_hash=config_hash, sha256=f'{seed:064x}')
    return Run(
        dict(fixed, **reached, **info), clips, labels, scores, scores[::-1] if backwards else None
    )


def test_every_run_of_this_repository_is_sound():
    """Configs, lists and checkpoints fit, and the scores give the accuracies of the table."""
    runs, problems = read_runs()
    assert problems == []
    table = read_table()
    assert table.to_csv(index=False) == (RESULTS / 'runs.csv').read_text()  # stays as it is
    assert len(runs) == len(table) >= 232
    for run, (_, row) in zip(runs, table.iterrows()):
        reached = accuracies(run.scores, run.labels)
        assert {key: round(reached[key], 2) for key in METRICS} == dict(row[list(METRICS)])
        assert run.scores.max(1).tolist() == [0] * len(run.labels)


def test_scores_are_small_and_their_files_stay_as_they_are_when_nothing_changes(tmp_path):
    sizes = [path.stat().st_size for path in (RESULTS / 'scores').glob('*.npz')]
    assert len(sizes) == 3 and sum(sizes) < 6e6
    add_run(make_run(0), tmp_path)
    add_run(make_run(1, backwards=True), tmp_path)
    files = tmp_path / 'runs.csv', tmp_path / 'scores' / 'utd-mhad-depth.npz'
    before = [path.read_bytes() for path in files]
    add_run(make_run(0), tmp_path)
    assert [path.read_bytes() for path in files] == before
    assert sorted(p.name for p in tmp_path.rglob('*.*') if p.is_file()) == [
        'runs.csv',
        'utd-mhad-depth.npz',
    ]


def test_rounding_keeps_the_order_of_classes():
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(1000, 27)).astype(np.float32)
    scores[:, 5] = scores[:, 4] + 1e-7  # closer than float16 can tell
    scores[:, 9] = scores[:, 8]  # a tie stays one
    small = compact(scores)
    assert small.dtype == np.float16
    np.testing.assert_array_equal(
        np.argsort(-scores, 1, kind='stable'), np.argsort(-small, 1, kind='stable')
    )
    assert (small[:, 9] == small[:, 8]).all() and (small.max(1) == 0).all()
    np.testing.assert_allclose(small, scores - scores.max(1, keepdims=True), rtol=2e-3, atol=1e-6)


def test_a_run_comes_back_as_it_was(tmp_path):
    run = make_run(3, backwards=True, gmacs=3.88, minutes=5.4, threads=2, gpu=None)
    add_run(run, tmp_path)
    add_run(make_run(2), tmp_path)
    (first, second), problems = read_runs(tmp_path)
    assert problems == [] and (first.seed, second.seed) == (2, 3)
    assert {key: second.info[key] for key in run.info} == run.info
    assert second.accuracies == run.accuracies and second.hits.all()
    assert second.clips.tolist() == run.clips.tolist()
    np.testing.assert_array_equal(second.backwards, run.backwards - 5.0)
    assert first.backwards is None


def test_a_run_is_replaced_by_the_same_run(tmp_path):
    add_run(make_run(0, backwards=True), tmp_path)
    add_run(make_run(0, shift=1, sha256='new'), tmp_path)
    ((run,), problems) = read_runs(tmp_path)
    assert problems == [] and run.info['top1'] == 0 and run.backwards is None


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(changes={'a': 1}), 'is there with other settings'),
        (dict(run='tsn_seed9', sha256=f'{0:064x}'), 'another run has the same checkpoint'),
        (dict(config_hash='0' * 12), 'is not as it was when this was run'),
        (dict(config='gone_utd-mhad-depth'), 'there is no config gone_utd-mhad-depth.py'),
        (dict(train_list='a.txt'), 'trained on a.txt and tested on test.txt'),
        (dict(split='swap', run='tsn_swap'), 'do not belong to the split swap'),
        (dict(top1=55.5), 'does not have the accuracy of the scores'),
    ],
)
def test_a_run_that_does_not_fit_changes_nothing(tmp_path, change, message):
    add_run(make_run(0), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob('*.*') if path.is_file()}
    run = make_run(0)
    if change.get('run', '').startswith('tsn_s') and 'sha256' not in change:
        change = dict(change, sha256='other')
    with pytest.raises(RunError, match=message):
        add_run(Run({**run.info, **change}, run.clips, run.labels, run.scores), tmp_path)
    assert before == {path: path.read_bytes() for path in before}


def test_other_clips_are_refused(tmp_path):
    add_run(make_run(0), tmp_path)
    run = make_run(1)
    clips = np.array([f'other{index}.mp4' for index in range(54)])
    with pytest.raises(RunError, match='tested on other clips than the runs of the split test'):
        add_run(Run(run.info, clips, run.labels, run.scores), tmp_path)


def test_what_does_not_fit_is_named_and_left_out(tmp_path):
    for seed in range(6):
        add_run(make_run(seed), tmp_path)
    table = pd.read_csv(tmp_path / 'runs.csv', dtype=str)
    table.loc[1, 'top1'] = '55.5'
    table.loc[2, 'config_hash'] = '0' * 12
    table.loc[3, 'run'] = 'without_scores'
    table.loc[5, 'sha256'] = table.loc[4, 'sha256']
    table.to_csv(tmp_path / 'runs.csv', index=False)
    runs, problems = read_runs(tmp_path)
    assert [run.seed for run in runs] == [0] and len(problems) == 5
    assert problems[0].startswith('utd-mhad-depth, tsn_seed1: the table does not have')
    assert 'scores/without_scores' in problems[2]


def test_configs_are_accepted_as_they_are_now(tmp_path):
    add_run(make_run(0), tmp_path)
    before = (tmp_path / 'runs.csv').read_text()
    own = make_run(0).info['config_hash']
    (tmp_path / 'runs.csv').write_text(before.replace(own, '0' * 12))
    assert 'is not as it was' in read_runs(tmp_path)[1][0]
    accept_configs(tmp_path)
    assert (tmp_path / 'runs.csv').read_text() == before


def test_a_damaged_file_is_an_error(tmp_path):
    add_run(make_run(0), tmp_path)
    scores = tmp_path / 'scores' / 'utd-mhad-depth.npz'
    scores.write_bytes(scores.read_bytes()[:-200])
    with pytest.raises(Exception, match='zip'):
        read_runs(tmp_path)


def test_changes_are_json_for_other_readers():
    for changes in pd.read_csv(RESULTS / 'runs.csv')['changes']:
        assert isinstance(json.loads(changes), dict)


def test_a_killed_writer_leaves_the_files_whole(tmp_path, monkeypatch):
    add_run(make_run(0), tmp_path)
    copy = shutil.copytree(tmp_path, tmp_path / 'copy')

    def fail(*args, **kwargs):
        raise RuntimeError('no space left')

    monkeypatch.setattr(pd.DataFrame, 'to_csv', fail)
    with pytest.raises(RuntimeError, match='no space left'):
        add_run(make_run(1), tmp_path)
    assert (tmp_path / 'runs.csv').read_bytes() == (copy / 'runs.csv').read_bytes()
    runs, problems = read_runs(tmp_path)
    assert len(runs) == 1 and problems == []
