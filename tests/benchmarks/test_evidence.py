"""Groups of runs, and the statistics of their differences."""

import numpy as np
import pytest

from benchmarks.compared import LABEL_MAP_EGOGEST, MODELS, MODELS_64, SAME_SETTINGS
from benchmarks.evidence import (
    bootstrap,
    by_unit,
    difference,
    first_classes,
    fuse,
    interval,
    mcnemar,
    mean_top1,
    opposite_backwards,
    order_accuracies,
    over_scenes,
    paired,
    pool,
    runs_by_model,
    summary,
    wilson,
)
from benchmarks.runs import Run

COSTS = dict(gmacs=1.5, params=2.0, minutes=3.0, loss=0.5)
SUBJECTS = (2, 4, 6, 8)


def subject_run(recognized, seed=0, split='test'):
    """A run of two clips per subject, some of which are recognized."""
    clips = np.array([f'a1_s{s}_t{t}_depth.mp4' for s in SUBJECTS for t in (1, 2)])
    hits = [t <= recognized[s] for s in SUBJECTS for t in (1, 2)]
    scores = np.array([[1, 0] if hit else [0, 1] for hit in hits])
    return Run(dict(seed=seed, split=split, **COSTS), clips, np.zeros(8, int), scores)


def each(hits):
    return dict.fromkeys(SUBJECTS, hits)


def model_run(model, seed, hits, changes=None, split='test', pixels=112):
    """A run of 54 clips whose first ``hits`` are recognized, all of them backwards too."""
    labels = np.arange(54) % 27
    scores = np.eye(27)[np.where(np.arange(54) < hits, labels, (labels + 1) % 27)]
    info = dict(dataset='utd-mhad-depth', config=MODELS[model], changes=changes or {})
    info.update(seed=seed, split=split, pixels=pixels, epochs=30, **COSTS)
    return Run(info, np.array([f'{i:02}_s2_.mp4' for i in range(54)]), labels, scores, scores)


@pytest.fixture(scope='module')
def runs():
    """TSM of two seeds; the streams of PAN En, complete for seed 0 only; two variants."""
    found = [model_run('TSM', 1, 28), model_run('TSM', 0, 27), model_run('PAN RGB', 1, 5)]
    found += [model_run(m, 0, hits) for m, hits in (('PAN RGB', 0), ('PAN PA', 54))]
    found += [model_run('PAN Lite', 0, 54)]
    found += [model_run('PAN Lite', 0, 10, {'model.cls_head.type': 'TSMHead'})]
    found += [model_run('PAN Lite', 0, 20, {'optim_wrapper.optimizer.lr': 1}, 'dev', 64)]
    return found


def test_runs_count_for_the_config_whose_settings_they_have(runs):
    found = runs_by_model(runs, MODELS)
    assert [run.seed for run in found['TSM']] == [0, 1]
    assert [run.accuracies['top1'] for run in found['PAN Lite']] == [100]
    assert found['TSN'] == []
    (same,) = SAME_SETTINGS
    run = model_run('PAN PA', 0, 27, same['changes'])
    run.info['config'] = same['config']
    assert runs_by_model([run], MODELS_64)['PAN PA, square roots'] == [run]


def test_longer_schedules_are_chosen_by_their_epochs():
    longer = {'train_cfg.max_epochs': 120, 'param_scheduler.1.T_max': 120}
    run = model_run('TSM', 0, 27, longer)
    run.info['epochs'] = 120
    assert runs_by_model([run], MODELS, epochs=120)['TSM'] == [run]
    assert runs_by_model([run], MODELS)['TSM'] == []


def test_streams_of_one_seed_are_fused_by_their_weights(runs):
    found = runs_by_model(runs, MODELS)
    (en,) = found['PAN En']
    assert [en.info[key] for key in ('gmacs', 'params', 'minutes')] == [4.5, 6.0, 9.0]
    assert en.accuracies['top1'] == 100  # two of three streams are right
    np.testing.assert_allclose(en.scores[0, :2], [2 / 3, 1 / 3])
    assert fuse(found['PAN RGB'][:1] + found['PAN PA'], [3, 1]).accuracies['top1'] == 0


def test_difference_by_subject_is_between_means_over_seeds():
    tsm = [subject_run({2: 2, 4: 1, 6: 0, 8: 0}), subject_run({2: 2, 4: 0, 6: 0, 8: 1}, seed=1)]
    tsn = [subject_run({2: 1, 4: 1, 6: 0, 8: 0})]
    assert by_unit(tsm, 'subject')['percent'].to_dict() == {2: 100, 4: 25, 6: 0, 8: 25}
    found = difference(tsm, tsn, 'subject')
    points = {'subject 2': 50.0, 'subject 4': -25.0, 'subject 6': 0.0, 'subject 8': 25.0}
    assert found.points == points and found.mean == 12.5
    # t of three degrees of freedom is 3.182, the sample deviation 32.3.
    half = 3.1824 * 32.2749 / 2
    assert (
        found.t == interval([*points.values()]) == pytest.approx((12.5 - half, 12.5 + half), 1e-4)
    )
    assert found.mcnemar_p == 1 and difference(tsm, [], 'subject') is None


def test_difference_by_split_is_between_runs_of_one_seed():
    one, other = ([subject_run(each(hits), split=s) for s in 'ab'] for hits in (2, 1))
    found = difference(one, other, 'split')
    assert found.points == {'a': 50.0, 'b': 50.0}
    assert found.mcnemar_p == pytest.approx(2 / 2**4)
    assert difference(one[:1], other, 'split') is None


def test_only_runs_of_one_seed_and_split_are_paired():
    first, second = (subject_run(each(1), seed) for seed in (0, 1))
    others = [subject_run(each(2), seed) for seed in (1, 2)]
    assert paired([first, second], others) == [(second, others[0])]
    assert paired([second], [subject_run(each(1), 1, 'swap')]) == []


def test_mcnemar_counts_the_clips_on_which_two_models_disagree():
    everything, nothing, half = (subject_run(each(hits)) for hits in (2, 0, 1))
    assert mcnemar(everything, everything) == 1
    assert mcnemar(everything, nothing) == mcnemar(nothing, everything)
    assert mcnemar(everything, nothing) == pytest.approx(2 * 0.5**8)
    assert mcnemar(half, nothing) == pytest.approx(2 * 0.5**4)


def test_bootstrap_draws_values_again():
    assert bootstrap([10.0, 10.0, 10.0]) == (10, 10)
    # The mean of 100 draws has a standard deviation of 28.87 / 10.
    wanted = 49.5 - 1.96 * 2.887, 49.5 + 1.96 * 2.887
    assert bootstrap(range(100)) == pytest.approx(wanted, abs=0.3)


def test_wilson():
    assert wilson(50, 100) == pytest.approx((40.4, 59.6), abs=0.05)
    assert wilson(10, 10)[1] == pytest.approx(100)


def test_order_of_time(runs):
    """Answers that stay the same backwards are never the partner."""
    shares = order_accuracies(runs[5])
    assert shares == dict(backwards=100, pairs=100, as_partner=0, as_before=100)
    labels = runs[5].labels
    partners = {9: 8, 8: 9}  # draw circle clockwise and counter-clockwise
    turned = np.eye(27)[[partners.get(label, label) for label in labels.tolist()]]
    run = Run(runs[5].info, runs[5].clips, labels, runs[5].scores, turned)
    assert order_accuracies(run)['as_partner'] == pytest.approx(100 / 3)
    assert order_accuracies(subject_run(each(1))) == {}


def test_summary(runs):
    table = summary(runs, {config: model for model, config in MODELS.items()})
    (tsm,) = table[table['model'] == 'TSM'].to_dict('records')
    assert tsm['seeds'] == '0 1' and tsm['top1'] == pytest.approx((27 + 28) / 54 * 50)
    assert tsm['top1_std'] == pytest.approx(100 / 54 / 2**0.5)
    assert (tsm['gmacs'], tsm['loss']) == (1.5, 0.5)
    assert tsm['as_before'] == tsm['pairs'] > 0
    lite = table[table['model'] == 'PAN Lite']
    assert sorted(lite['changes']) == [
        '',
        '{"model.cls_head.type": "TSMHead"}',
        '{"optim_wrapper.optimizer.lr": 1}',
    ]
    assert set(lite['split']) == {'test', 'dev'}


# Clips of folds and scenes ---------------------------------------------------------------------


def gesture_run(answers, labels, scenes=None, backwards=None, seed=0, split='test'):
    """A run of clips of five classes, of which the last one is no gesture."""
    found = [None if part is None else np.eye(5)[part] for part in (answers, backwards)]
    info = dict(seed=seed, split=split, **COSTS)
    clips = np.array([f'{split}_{index}.mp4' for index in range(len(labels))])
    numbers = None if scenes is None else np.array(scenes)
    return Run(info, clips, np.array(labels), *found, numbers)


def test_folds_of_a_seed_are_pooled():
    first = gesture_run([0, 1], [0, 0], [3, 4], [0, 0], split='test')
    second = gesture_run([2, 2, 1], [2, 2, 2], [5, 5, 6], [1, 1, 1], split='fold1')
    second.info['loss'] = 1.5
    lone = gesture_run([4, 4], [4, 4], [3, 4], seed=1)
    (run,) = pool([first, second, lone])
    assert run.clips.tolist() == ['fold1_0.mp4', 'fold1_1.mp4', 'fold1_2.mp4', *first.clips]
    assert run.accuracies['top1'] == 60 and run.scenes.tolist() == [5, 5, 6, 3, 4]
    assert run.backwards.argmax(1).tolist() == [1, 1, 1, 0, 0]
    wanted = dict(seed=0, split='fold1 + test', minutes=6.0, loss=1.0, gmacs=1.5)
    assert {key: run.info[key] for key in wanted} == wanted
    (single,) = pool([lone])
    assert single.accuracies['top1'] == 100 and single.backwards is None
    assert pool([]) == []


def test_gestures_by_themselves_are_taken_for_no_other_class():
    run = gesture_run([0, 4, 4, 4], [0, 1, 2, 4], [0, 1, 2, 3], [1, 0, 4, 4])
    run.scores[1] = [0, 0.5, 0, 0, 1]
    assert run.accuracies['top1'] == 50  # the first and the last
    own = first_classes(run, 4)
    assert own.labels.tolist() == [0, 1, 2] and own.scenes.tolist() == [0, 1, 2]
    assert own.hits.tolist() == [True, True, False]
    assert own.backwards.tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert first_classes(gesture_run([0], [0]), 4).scenes is None


def test_scenes_count_by_their_clips():
    """Of one scene three of four clips are recognized by both seeds, of the other by one."""
    runs = [gesture_run([0, 0, 0, 1, a], [0] * 5, [7, 7, 7, 7, 9], seed=a) for a in (0, 1)]
    scenes = by_unit(runs, 'scene')
    assert scenes.T.to_dict('list') == {7: [75, 4], 9: [50, 1]}
    mean, (low, high) = over_scenes(scenes)
    assert mean == 70 == pytest.approx(np.mean([run.accuracies['top1'] for run in runs]))
    assert (low, high) == (50, 75)  # only one scene or only the other, each in a quarter of draws
    assert not len(by_unit([gesture_run([0], [0])], 'scene'))


def test_bootstrap_weighs_values():
    even = bootstrap(range(100), [1] * 100)
    assert even == bootstrap(range(100)) == bootstrap(range(100), [3] * 100)
    low, high = bootstrap([0, 100], [1, 9])
    assert (low, high) == (0, 100)
    # Half of the values count for nothing, so that the deviation is as of fifty.
    low, high = bootstrap([*range(50), *[1000] * 50], [1] * 50 + [0] * 50)
    assert (low, high) == pytest.approx((24.5 - 1.96 * 14.43 / 50**0.5, 24.5 + 4.0), abs=0.4)


def test_difference_by_scene():
    scenes = [1, 1, 1, 2]
    one = [gesture_run([0, 0, 0, 1], [0] * 4, scenes, seed=seed) for seed in (0, 1)]
    other = [gesture_run([0, 1, 1, 0], [0] * 4, scenes)]
    found = difference(one, other, 'scene')
    assert found.points == pytest.approx({'scene 1': 100 * 2 / 3, 'scene 2': -100})
    lead = mean_top1(one) - mean_top1(other)
    assert found.mean == pytest.approx(lead) and lead == 25
    assert found.bootstrap == pytest.approx((-100, 100 * 2 / 3))
    assert np.isnan(found.t).all() and found.mcnemar_p == 1
    unknown = [gesture_run([0, 1, 1, 0], [0] * 4)]
    assert difference(one, unknown, 'scene') is None


def test_swipes_that_become_the_opposite_backwards():
    """Of the recognized ones with an opposite: clips 0, 1 and 3."""
    run = gesture_run([0, 1, 3, 1, 4], [0, 1, 2, 1, 4], backwards=[1, 2, 3, 0, 4])
    opposites = [('swipe left', 'swipe right'), ('swipe up', 'swipe down')]
    assert opposite_backwards(run, opposites, LABEL_MAP_EGOGEST).tolist() == [True, False, True]
    assert opposite_backwards(run, opposites[1:], LABEL_MAP_EGOGEST).tolist() == []
