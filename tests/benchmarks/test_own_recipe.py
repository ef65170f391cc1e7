import json
import pickle
from collections import Counter

import numpy as np
import pytest
import torch

from benchmarks import own_recipe
from benchmarks.own_recipe import Bench, Clip, Run


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
    return Bench(tmp_path / 'data', tmp_path / 'out', tmp_path / 'work_dirs')


def run_of(draw, setting='ten'):
    return Run('utd_mhad_depth27', setting, draw, 'pa-r18', 600)


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


class TestBench:
    def test_steps_are_the_budget_over_the_cost(self, bench, monkeypatch):
        seconds = iter([11.0, 35.0, 14.0, 29.0])
        monkeypatch.setattr(bench, '_call', lambda command, folder: next(seconds))
        run = run_of(1)
        (bench.work_dirs / run.name).mkdir(parents=True)
        (bench.work_dirs / run.name / 'train.txt').write_text('a.mp4 0\n' * 50)
        cost = bench._cost_of(run)
        assert (cost['step'], cost['start']) == (2.0, 5.0)
        assert bench._cost_of(run) == cost  # kept, not measured again
        assert json.loads(bench.costs_path.read_text()).keys() == {'utd_mhad_depth27 pa-r18'}

    def test_finished_and_failed_runs_are_left_out(self, bench):
        first, second, third, *_ = runs = bench.runs()
        assert len({run.name for run in runs}) == len(runs)
        bench._append(dict(run=first.name))
        assert bench._todo({third.name})[0] == second and third not in bench._todo({third.name})

    def test_accuracies_are_of_each_part(self, bench, tmp_path):
        tested = {
            part: [Clip(f'{part}{n}.mp4', n % 5, f'{part} group') for n in range(5)]
            for part in ('train', 'val', 'test')
        }
        samples = [
            dict(pred_score=torch.eye(5)[0 if part == 'test' else n], gt_label=torch.tensor([n]))
            for part in tested
            for n in range(5)
        ]
        (tmp_path / 'scores.pkl').write_bytes(pickle.dumps(samples))
        found = bench._accuracies(run_of(1), tmp_path, tested)
        assert (found['train_accuracy'], found['val_accuracy']) == (100, 100)
        assert (found['test_accuracy'], found['test_right']) == (20, '1/1 0/1 0/1 0/1 0/1')
        name, arrays = run_of(1).name, np.load(bench.out / 'scores.npz')
        assert arrays[f'{name}/part'].tolist() == ['train'] * 5 + ['val'] * 5 + ['test'] * 5
        assert arrays[f'{name}/scores'].shape == (15, 5)
        assert arrays[f'{name}/group'][-1] == 'test group'
        with pytest.raises(ValueError, match='labels of other clips'):
            bench._accuracies(run_of(1), tmp_path, dict(reversed(tested.items()), val=[]))

    def test_commands_are_shown_as_from_a_clone(self, bench):
        run = run_of(2)
        command = bench._train_command(run, bench.work_dirs / run.name, 100)
        shown = bench._public(' '.join(map(str, command)))
        assert shown.startswith('python tools/train.py configs/recognition/pan/pan-pa_r18')
        assert 'data_root=data/utd_mhad_depth27 ' in shown and str(bench.data) not in shown
        assert f'ann_file=work_dirs/own_recipe/{run.name}/train.txt' in shown
        assert all(
            (own_recipe.ROOT / 'configs/recognition' / model['config']).is_file()
            for model in bench.models.values()
        )
