import os
import shutil
from collections import Counter

import numpy as np
import pytest

from benchmarks import own_recipe
from benchmarks.own_recipe import Bench, Clip, Run
from pan_mm.engine.own_videos import OWN_MODELS, read_own_videos


@pytest.fixture
def utd_mhad(tmp_path):
    """The layout of UTD-MHAD with twenty classes; the last one has a clip of each subject."""
    folder = tmp_path / 'utd_mhad_depth27'
    (folder / 'annotations').mkdir(parents=True)
    (folder / 'label_map.txt').write_text(''.join(f'action {label}\n' for label in range(20)))
    for name, subjects in (('train', (1, 3, 5, 7)), ('test', (2, 4, 6, 8))):
        lines = [
            f'videos/a{label + 1}_s{subject}_t{trial}_depth.mp4 {label}\n'
            for label in range(20)
            for subject in subjects
            for trial in range(1 if label == 19 else 4)
        ]
        (folder / f'annotations/{name}.txt').write_text(''.join(lines))
    return tmp_path


@pytest.fixture
def bench(tmp_path):
    (tmp_path / 'out').mkdir()
    return Bench(tmp_path / 'data', tmp_path / 'out', tmp_path / 'work_dirs')


def run_of(draw, setting='ten'):
    return Run('utd_mhad_depth27', setting, draw, 'pan-pa', 600)


class TestDraws:
    @pytest.mark.parametrize('draw', [1, 2])
    def test_no_subject_is_in_two_parts_and_each_class_has_ten_training_clips(self, utd_mhad, draw):
        names, parts = own_recipe.draw_clips(utd_mhad, run_of(draw))
        assert len(set(names)) == 5 and 'action 19' not in names
        groups = [{clip.group for clip in parts[part]} for part in ('train', 'val', 'test')]
        assert [len(own) for own in groups] == [4, 1, 3] and len(set().union(*groups)) == 8
        counts = {part: Counter(clip.label for clip in clips) for part, clips in parts.items()}
        assert counts == {
            'train': dict.fromkeys(range(5), 10),
            'val': dict.fromkeys(range(5), 4),
            'test': dict.fromkeys(range(5), 12),
        }

    def test_the_draws_share_no_class_and_no_test_subject(self, utd_mhad):
        (first, ours), (second, theirs) = (
            own_recipe.draw_clips(utd_mhad, run_of(draw)) for draw in (1, 2)
        )
        assert first == [f'action {label}' for label in (0, 1, 8, 9, 10)]
        assert not set(first) & set(second)
        assert not {c.group for c in ours['test']} & {c.group for c in theirs['test']}

    def test_all_clips_have_the_same_test(self, utd_mhad):
        _, ten = own_recipe.draw_clips(utd_mhad, run_of(1))
        _, all_clips = own_recipe.draw_clips(utd_mhad, run_of(1, 'all'))
        assert ten['test'] == all_clips['test'] and set(ten['train']) < set(all_clips['train'])
        assert len(all_clips['train']) == 5 * 16

    def test_scenes_are_held_out_while_each_class_keeps_ten_clips(self):
        clips = [
            Clip(f'{s}-{c}-{n}', c, f's{s}') for s in range(7) for c in range(5) for n in (0, 1)
        ]
        train, val = own_recipe.hold_out_scenes(clips, own_recipe.random.Random(0))
        assert len({clip.group for clip in val}) == 1 and len(val) == 10
        assert sorted(train + val) == sorted(clips)
        few = [clip for clip in clips if clip.group < 's5']
        assert own_recipe.hold_out_scenes(few, own_recipe.random.Random(0)) == (few, [])

    def test_lists_are_those_of_own_videos(self, utd_mhad, tmp_path):
        folder = tmp_path / 'draw'
        parts = own_recipe.write_draw(folder, utd_mhad, run_of(1))
        own = read_own_videos(folder)
        assert own.classes == [f'action {label}' for label in (0, 1, 8, 9, 10)]
        assert own.labels == [clip.label for clip in parts['train']]
        first = (folder / 'train.txt').read_text().split()[0]
        assert first == parts['train'][0].path and first.startswith('videos/')
        assert (folder / 'videos').readlink() == utd_mhad / 'utd_mhad_depth27' / 'videos'
        lines = (folder / 'tested.txt').read_text().splitlines()
        assert len(lines) == sum(map(len, parts.values()))


class TestBench:
    def test_finished_runs_are_left_out(self, bench):
        first, second, *_ = bench.left
        assert len({run.name for run in bench.runs}) == len(bench.runs)
        assert {run.model for run in bench.runs} <= OWN_MODELS.keys()
        bench.add_row(dict(run=first.name))
        assert bench.left[0] == second and first not in bench.left

    def test_accuracies_are_of_each_part(self, bench):
        parts = {
            part: [Clip(f'{part}{n}.mp4', n % 5, f'{part} group') for n in range(5)]
            for part in ('train', 'val', 'test')
        }
        labels = np.tile(np.arange(5), 3)
        scores = np.eye(5)[labels]
        scores[10:] = np.eye(5)[0]
        found = bench.add_scores(run_of(1), scores, labels, parts)
        assert (found['train_accuracy'], found['val_accuracy']) == (100, 100)
        assert (found['test_accuracy'], found['test_right']) == (20, '1/1 0/1 0/1 0/1 0/1')
        name, arrays = run_of(1).name, np.load(bench.out / 'scores.npz')
        assert arrays[f'{name}/part'].tolist() == ['train'] * 5 + ['val'] * 5 + ['test'] * 5
        assert arrays[f'{name}/scores'].shape == (15, 5)
        assert arrays[f'{name}/group'][-1] == 'test group'
        with pytest.raises(ValueError, match='labels of other clips'):
            bench.add_scores(run_of(1), scores, labels[::-1], parts)


@pytest.mark.slow
def test_a_run_from_clips_to_its_row(videos, bench, tmp_path):
    root = tmp_path / 'data' / 'jhmdb21'
    (root / 'annotations').mkdir(parents=True)
    shutil.copytree(videos, root / 'videos')
    lists = dict(train1=(0, 1, 2), test1=(3,), test2=(2,))  # the clip of test2 validates
    for name, numbers in lists.items():
        lines = [f'{n}_{label}.mp4 {label}\n' for label in range(21) for n in numbers]
        (root / f'annotations/{name}.txt').write_text(''.join(lines))
    for label in range(21):
        for n in range(4):
            os.link(root / f'videos/{n}.mp4', root / f'videos/{n}_{label}.mp4')
    (root / 'label_map.txt').write_text(''.join(f'action {label}\n' for label in range(21)))
    run = Run('jhmdb21', 'ten', 1, 'signed-difference', 1)
    bench.do(run)
    (row,) = bench.rows
    assert row['run'] == run.name and row['classes'].startswith('action 1;action 7;')
    assert (row['train_clips'], row['val_clips'], row['test_clips']) == ('10', '5', '5')
    assert row['pixels'] == '64' and int(row['steps']) >= 1 and float(row['core_seconds']) > 0
    assert row['command'].startswith('python -m pan_mm tool train work_dirs/own_recipe/jhmdb21_ten')
    assert len(np.load(bench.out / 'scores.npz')[f'{run.name}/scores']) == 20
    assert not list(bench.work_dirs.rglob('*.pth'))
