"""The tables about gestures in color, from runs whose answers are known."""

import dataclasses
import json

import numpy as np
import pytest

from benchmarks.compared import MODELS_EGOGEST, SPLITS_EGOGEST
from benchmarks.pages import gestures, model_zoo, tables
from benchmarks.runs import Run

# Of each fold: swipes left, right, right and down, a star, no gesture; of two scenes.
LABELS = np.array([0, 1, 1, 3, 9, 10])
SCENES = np.array([0, 0, 0, 0, 1, 1])
TURNED = np.array([1, 0, 0, 2, 9, 10])  # what is right backwards


def gesture_run(model, split, answers, backwards, seed=0):
    info = dict(dataset='egogest11-rgb', config=MODELS_EGOGEST[model], changes={}, seed=seed)
    info.update(split=split, epochs=60, pixels=64, loss=0.25, gmacs=1.3, params=11.2, minutes=2)
    fold = list(SPLITS_EGOGEST.values()).index(split)
    clips = np.array([f'{split}_{index}.mp4' for index in range(6)])
    scores, turned = np.eye(11)[answers], np.eye(11)[backwards]
    return Run(info, clips, LABELS, scores, turned, 2 * fold + SCENES)


@pytest.fixture
def show(monkeypatch):
    """Makes the tables of these runs: ``show(runs, name)`` gives the cells by the first one."""

    def cells(runs, name):
        monkeypatch.setattr(tables, 'all_runs', lambda: runs)
        for function in (tables.found, tables.leads):
            function.cache_clear()
        lines = [line.split(' | ') for line in gestures.TABLES[name]().splitlines()]
        return {line[0].strip('| '): [cell.strip(' |') for cell in line[1:]] for line in lines}

    yield cells
    for function in (tables.found, tables.leads):
        function.cache_clear()


def folds(model, answers, backwards, **kwargs):
    return [gesture_run(model, s, answers, backwards, **kwargs) for s in SPLITS_EGOGEST.values()]


PERFECT = LABELS, TURNED
BLIND = np.zeros(6, int), np.zeros(6, int)  # everything is a swipe to the left
UNSURE = np.array([0, 1, 1, 3, 10, 10]), TURNED  # the star is no gesture


def test_models_side_by_side(show):
    runs = [*folds('PAN PA', *PERFECT), *folds('TSN', *BLIND), *folds('PAN RGB', *UNSURE)]
    rows = show([*runs, *folds('PAN RGB', *PERFECT, seed=1)], 'gestures')
    assert [*rows][2:] == ['TSN', 'PAN RGB', 'PAN PA', 'PAN Full']
    assert rows['TSN'][:3] == ['18 × 1', '16.7', '20.0']
    assert rows['TSN'][4:] == ['25.0', '0 of 3', '0.250']
    low, high = map(float, rows['TSN'][3].split(' … '))
    assert 0 <= low < 20 < high <= 25  # a scene has 25 or 0 %
    seeds = ['18 × 2', '91.7 ± 11.8', '90.0 ± 14.1']
    assert rows['PAN RGB'][:3] == seeds
    assert rows['PAN RGB'][4:] == ['100.0 ± 0.0', '24 of 24', '0.250']
    perfect = ['18 × 1', '100.0', '100.0', '100.0 … 100.0', '100.0', '12 of 12']
    assert rows['PAN PA'] == [*perfect, '0.250']
    assert rows['PAN Full'] == [*perfect, '']  # of seed 0, like PAN PA


def test_leads_are_over_scenes_and_clips(show):
    runs = [*folds('PAN PA', *PERFECT), *folds('PAN RGB', *UNSURE)]
    rows = show([*runs, *folds('PAN RGB', *PERFECT, seed=1)], 'gesture_leads')
    assert [*rows][2:] == ['PAN PA − PAN RGB', 'PAN Full − PAN PA']
    mean, interval, chance = rows['PAN PA − PAN RGB']
    low, high = map(float, interval.split(' … '))
    assert (mean, chance) == ('+10.0', '0.25')  # three clips of seed 0
    assert 0 < low < 10 < high < 50


def test_a_model_is_shown_once_it_has_all_folds(show):
    runs = [*folds('PAN PA', *PERFECT), *folds('PAN PA', *BLIND, seed=1)[:2]]
    runs += folds('PAN RGB', *UNSURE)[1:]
    rows = show(runs, 'gestures')
    assert [*rows][2:] == ['PAN PA'] and rows['PAN PA'][:3] == ['18 × 1', '100.0', '100.0']
    assert [*show(runs, 'gesture_leads')] == ['No pair of runs yet.']


def test_without_scenes_there_is_no_interval(show):
    runs = [dataclasses.replace(run, scenes=None) for run in folds('TSN', *BLIND)]
    assert show(runs, 'gestures')['TSN'][:4] == ['18 × 1', '16.7', '20.0', '']


def test_nothing_is_there_yet(show, monkeypatch, tmp_path):
    assert [*show([], 'gestures')] == ['No run yet.']
    assert [*show([], 'gesture_leads')] == ['No pair of runs yet.']
    monkeypatch.setattr(gestures, 'SEGMENT_HEADS', tmp_path / 'none.json')
    assert gestures.segment_heads() == 'Not measured yet.'


def test_the_zoo_shows_all_folds(show):
    show([*folds('PAN PA', *PERFECT), *folds('TSN', *BLIND)], 'gestures')
    own = model_zoo.own_accuracies()
    assert own[MODELS_EGOGEST['PAN PA']] == '100.0 / 100.0'
    assert own[MODELS_EGOGEST['TSN']] == '16.7 / 66.7'


def test_segment_heads_are_added_over_folds(monkeypatch, tmp_path):
    def fold(clips, forwards, backwards):
        right = dict(forwards=forwards, reversed=backwards, shuffled=backwards)
        return dict(clips=clips, heads={'VAP': dict(params=1392, right=right)})

    path = tmp_path / 'heads.json'
    path.write_text(json.dumps(dict(a=fold(60, [30, 40], [0, 20]), b=fold(40, [20, 30], [0, 0]))))
    monkeypatch.setattr(gestures, 'SEGMENT_HEADS', path)
    (*_, line) = gestures.segment_heads().splitlines()
    assert line == ('| VAP | 1,392 | 60.0 ± 14.1 | 10.0 ± 14.1 | 10.0 ± 14.1 |')
