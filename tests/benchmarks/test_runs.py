"""The table of runs and the scores beside it."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from benchmarks.runs import (
    METRICS,
    RESULTS,
    Run,
    RunError,
    accuracies,
    add_run,
    compact,
    read_runs,
    read_table,
    run_name,
    without_scale,
)

CONFIG = 'tsn_r18_1xb16-1x1x8-30e_utd-mhad-depth'


def make_run(seed=0, shift=0, backwards=False, **info):
    """A run of 54 clips; all are recognized, or with a shift none."""
    labels = np.arange(54) % 27
    scores = 5 * np.eye(27, dtype=np.float32)[(labels + shift) % 27]
    clips = np.array([f'{index:02}.mp4' for index in range(54)])
    reached = {key: round(value, 2) for key, value in accuracies(scores, labels).items()}
    fixed = dict(dataset='utd-mhad-depth', config=CONFIG, changes={}, split='test')
    fixed.update(train_list='train.txt', test_list='test.txt', seed=seed, epochs=30, threads=2)
    fixed.update(run=f'tsn_seed{seed}', sha256=f'{seed:064x}', config_hash=None, score_digits=None)
    return Run(
        dict(fixed, **reached, **info), clips, labels, scores, scores[::-1] if backwards else None
    )


def test_ties_break_in_one_way():
    """On balanced data top-1 and the mean over the classes are the same."""
    rng = np.random.default_rng(0)
    tied, labels = rng.integers(0, 3, (60, 6)).astype(np.float32), np.arange(60) % 6
    shares = accuracies(tied, labels)
    assert shares['top1'] == pytest.approx(shares['mean_class'])
    assert accuracies(np.zeros((2, 7)), np.array([4, 5]))['top5'] == 50


def test_every_run_of_this_repository_is_sound():
    """The scores give the accuracies of the table."""
    runs, table = read_runs(), read_table()
    assert table.to_csv(index=False) == (RESULTS / 'runs.csv').read_text()  # stays as it is
    assert len(runs) == len(table) >= 232
    for run, (_, row) in zip(runs, table.iterrows()):
        reached = accuracies(run.scores, run.labels)
        assert {key: round(reached[key], 2) for key in METRICS} == dict(row[list(METRICS)])
        assert run.scores.max(1).tolist() == [0] * len(run.labels)


def test_scores_are_small_and_their_files_stay_as_they_are_when_nothing_changes(tmp_path):
    sizes = {path.stem: path.stat().st_size for path in (RESULTS / 'scores').glob('*.npz')}
    assert sizes.keys() == set(read_table()['dataset']) and sum(sizes.values()) < 6e6
    add_run(make_run(0), tmp_path)
    add_run(make_run(1, backwards=True), tmp_path)
    files = tmp_path / 'runs.csv', tmp_path / 'scores' / 'utd-mhad-depth.npz'
    before = [path.read_bytes() for path in files]
    add_run(make_run(0), tmp_path)
    assert [path.read_bytes() for path in files] == before
    assert {path for path in tmp_path.rglob('*') if path.is_file()} == set(files)


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


def test_a_run_comes_back_as_it_was_and_is_replaced_by_the_same(tmp_path):
    run = make_run(3, backwards=True, gmacs=3.88, minutes=5.4, gpu=None)
    add_run(run, tmp_path)
    add_run(make_run(2), tmp_path)
    first, second = read_runs(tmp_path)
    assert (first.seed, second.seed) == (2, 3)
    assert {key: second.info[key] for key in run.info} == run.info
    assert second.accuracies == run.accuracies and second.hits.all()
    assert second.clips.tolist() == run.clips.tolist()
    np.testing.assert_array_equal(second.backwards, run.backwards - 5.0)
    assert first.backwards is None
    add_run(make_run(3, shift=1), tmp_path)
    _, second = read_runs(tmp_path)
    assert second.info['top1'] == 0 and second.backwards is None


def test_scenes_belong_to_a_split(tmp_path):
    """Runs that were added before they were known have them too."""
    add_run(make_run(0), tmp_path)
    assert read_runs(tmp_path)[0].scenes is None
    scenes = np.arange(54) // 9
    add_run(dataclasses.replace(make_run(1), scenes=scenes), tmp_path)
    add_run(make_run(2), tmp_path)
    runs = read_runs(tmp_path)
    assert [run.scenes.tolist() for run in runs] == [scenes.tolist()] * 3


def test_a_run_that_does_not_fit_changes_nothing(tmp_path):
    add_run(make_run(0), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob('*.*') if path.is_file()}
    run = make_run(1)
    clips = np.array([f'other{index}.mp4' for index in range(54)])
    with pytest.raises(RunError, match='other clips were tested than in the runs of test'):
        add_run(Run(run.info, clips, run.labels, run.scores), tmp_path)
    with pytest.raises(RunError, match='tsn_seed1: the table does not have the accuracy'):
        add_run(Run(dict(run.info, top1=55.5), run.clips, run.labels, run.scores), tmp_path)
    assert before == {path: path.read_bytes() for path in before}


@pytest.mark.parametrize(
    ('column', 'value', 'error', 'message'),
    [
        ('top1', '55.5', RunError, 'tsn_seed1: the table does not have the accuracy of the scores'),
        ('run', 'without_scores', KeyError, 'scores/without_scores'),
    ],
)
def test_a_broken_record_is_named(tmp_path, column, value, error, message):
    for seed in range(2):
        add_run(make_run(seed), tmp_path)
    table = pd.read_csv(tmp_path / 'runs.csv', dtype=str)
    table.loc[1, column] = value
    table.to_csv(tmp_path / 'runs.csv', index=False)
    with pytest.raises(error, match=message):
        read_runs(tmp_path)


def test_changes_are_json_for_other_readers():
    for changes in pd.read_csv(RESULTS / 'runs.csv')['changes']:
        assert isinstance(json.loads(changes), dict)


def test_scale_is_told_apart():
    info = dict(config='x_y', split='test', pixels=64, epochs=15, seed=0)
    scale = {
        'train_dataloader.dataset.pipeline.4.input_size': 64,
        'train_cfg.max_epochs': 15,
        'param_scheduler.1.T_max': 15,
    }
    assert without_scale(scale) == {}
    assert run_name(dict(info, changes=scale)) == 'x_64px_15e_seed0'
    shorter = {**scale, 'param_scheduler.1.T_max': 9}
    assert without_scale(shorter) == {'param_scheduler.1.T_max': 9}
    assert run_name(dict(info, changes=shorter)).startswith('x_64px_15e_T_max-9-')


def test_names_stay_short_and_differ_where_settings_do():
    info = dict(config='x_y', split='dev', pixels=64, epochs=15, seed=0)
    names = {
        run_name(dict(info, changes=changes))
        for changes in ({'a.lr': 1}, {'b.lr': 1}, {f'a.{"long" * 20}': 1, 'b': 2}, {'b': 2})
    }
    assert len(names) == 4 and all(n.startswith('x_dev_') and len(n) < 45 for n in names)


def test_names_of_the_recorded_runs_come_out_again():
    for run in read_runs():
        assert run_name(run.info) == run.info['run']
