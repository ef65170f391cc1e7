"""Annotation lists and frames, from files as they are published."""

import os

import cv2
import numpy as np
import pytest
import torch
from mmaction.registry import DATASETS
from mmengine.config import Config

from pan_mm.engine.own_videos import StepCost


@pytest.fixture(autouse=True)
def second_a_step(request, monkeypatch):
    """A step costs a second, except where one is measured."""
    if 'budget' not in request.node.name:
        cost = StepCost(0.25, 0.75)
        monkeypatch.setattr('pan_mm.engine.own_videos.measure_step', lambda config, size: cost)


def test_own_videos_get_lists_and_a_command(succeed, fail, own_videos):
    succeed('build_list.py', own_videos)
    assert (own_videos / 'label_map.txt').read_text() == 'clap\nwave\n'
    train, val = ((own_videos / f'{s}.txt').read_text().splitlines() for s in ('train', 'val'))
    assert len(train) == 8 and len(val) == 2 and not set(train) & set(val)
    assert all(line.endswith(' 1') == line.startswith('wave/') for line in train + val)
    assert [line.split()[-1] for line in val] == ['0', '1']
    cfg = own_config(own_videos)
    assert cfg.model.cls_head.num_classes == 2 and cfg.classes == ['clap', 'wave']
    assert '--overwrite' in fail('build_list.py', own_videos)
    succeed('build_list.py', own_videos, '--overwrite')
    assert (own_videos / 'train.txt').read_text().splitlines() == train


def test_budget_and_size(succeed, own_videos):
    options = '--minutes', 1, '--size', 48, '--no-flip'
    said = succeed('build_list.py', own_videos, *options)
    assert 'steps at 48 × 48 pixels' in said
    cfg = own_config(own_videos)
    assert cfg.size == 48 and cfg.train_cfg.max_epochs > 1
    assert flip_ratio(cfg) == 0


@pytest.mark.parametrize('reading', [1.0, 4.0])
def test_a_training_that_only_decodes_is_named(succeed, own_videos, monkeypatch, reading):
    cost = StepCost(reading, 3.0)
    monkeypatch.setattr('pan_mm.engine.own_videos.measure_step', lambda config, size: cost)
    said = succeed('build_list.py', own_videos, '--size', 64)
    hint = 'Decoding takes 57% of the time. Smaller copies allow more steps: tools/data/resize_vid'
    assert (hint in said) == (reading == 4)


def flip_ratio(cfg):
    (flip,) = (t for t in cfg.train_dataloader.dataset.pipeline if t['type'] == 'Flip')
    return flip['flip_ratio']


def test_own_frames_get_their_names(succeed, own_frames):
    succeed('build_list.py', own_frames)
    assert names_of(own_frames) == ('{:05}.jpg', 1)
    assert all(line.split()[1] == '12' for line in (own_frames / 'train.txt').open())
    for split in ('train', 'val'):
        dataset = DATASETS.build(own_config(own_frames)[f'{split}_dataloader'].dataset)
        assert all(sample['inputs'].dtype == torch.uint8 for sample in dataset)


def own_config(folder):
    return Config.fromfile(folder / f'signed-difference_{folder.name}.py')


def names_of(folder):
    dataset = own_config(folder).train_dataloader.dataset
    assert dataset.type == 'RawframeDataset'
    return dataset.filename_tmpl, dataset.start_index


def test_a_given_split_is_kept(succeed, fail, own_videos):
    (own_videos / 'train').mkdir()
    for name in ('wave', 'clap'):
        (own_videos / name).rename(own_videos / 'train' / name)
        (own_videos / 'val' / name).mkdir(parents=True)
        (own_videos / 'train' / name / '0.mp4').rename(own_videos / 'val' / name / '0.mp4')
    succeed('build_list.py', own_videos)
    assert (own_videos / 'val.txt').read_text() == 'val/clap/0.mp4 0\nval/wave/0.mp4 1\n'
    (own_videos / 'val' / 'wave').rename(own_videos / 'val' / 'jump')
    assert 'add some to jump, wave' in fail('build_list.py', own_videos, '--overwrite')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda root: (root / 'jump').mkdir(), 'add some to jump'),
        (lambda root: (root / 'wave' / '0.mp4').rename(root / 'wave' / 'a\tb.mp4'), 'white space'),
        (lambda root: (root / 'wave').rename(root / '.wave'), 'each of two classes; found clap'),
    ],
)
def test_unfit_folder_is_refused(fail, own_videos, change, message):
    change(own_videos)
    assert message in fail('build_list.py', own_videos, '--overwrite')
    assert not list(own_videos.glob('va*.txt'))


class TestNames:
    def test_as_phones_and_people_give_them(self, succeed, own_videos):
        (own_videos / 'wave').rename(own_videos / '손 흔들기')
        (own_videos / '손 흔들기' / '0.mp4').rename(
            own_videos / '손 흔들기' / 'IMG\u202f(1) [b], c.MP4'
        )
        succeed('build_list.py', own_videos)
        listed = ''.join((own_videos / f'{split}.txt').read_text() for split in ('train', 'val'))
        assert '손 흔들기/IMG\u202f(1) [b], c.MP4\t1\n' in listed and len(listed.splitlines()) == 10
        cfg = own_config(own_videos)
        for split in ('train', 'val'):
            settings = {**cfg[f'{split}_dataloader'].dataset, 'pipeline': []}
            dataset = DATASETS.build(settings)
            assert dataset.metainfo['classes'] == ['clap', '손 흔들기']
            assert all(os.path.isfile(dataset[i]['filename']) for i in range(len(dataset)))

    def test_frames_cannot_have_spaces(self, fail, own_frames):
        (own_frames / 'wave').rename(own_frames / 'my wave')
        assert 'a list cannot hold its white space' in fail('build_list.py', own_frames)

    @pytest.mark.parametrize('name', ['swipe_left', 'turnRight', '向左'])
    def test_no_flip_where_sides_matter(self, succeed, own_videos, name):
        succeed('build_list.py', own_videos)
        assert flip_ratio(own_config(own_videos)) == 0.5
        (own_videos / 'wave').rename(own_videos / name)
        said = succeed('build_list.py', own_videos, '--overwrite')
        assert f'not flipped, since sides matter to {name}' in said
        assert flip_ratio(own_config(own_videos)) == 0


class TestUnreadable:
    @pytest.fixture
    def spoiled(self, own_videos, make_video):
        (own_videos / 'wave' / '0.mp4').write_bytes(b'')
        (own_videos / 'wave' / '1.mp4').write_bytes(b'no video')
        make_video(own_videos / 'clap' / '2.mp4', 1)
        return own_videos

    def test_left_out_and_named(self, succeed, spoiled):
        said = succeed('build_list.py', spoiled)
        assert '3 of 10 videos cannot be read and are left out' in said
        for found in ('wave/0.mp4: empty', 'wave/1.mp4: is not', 'clap/2.mp4: a picture'):
            assert found in said
        lines = [line for s in ('train', 'val') for line in (spoiled / f'{s}.txt').open()]
        assert len(lines) == 7 and not {'wave/0.mp4 1\n', 'clap/2.mp4 0\n'} & set(lines)

    def test_strict(self, fail, spoiled):
        assert '3 of 10 videos cannot be read' in fail('build_list.py', spoiled, '--strict')
        assert not list(spoiled.glob('*.txt'))


class TestGroups:
    @pytest.fixture
    def people(self, tmp_path, make_video):
        """Two classes by five people, two videos each, in folders of theirs."""
        for name in ('wave', 'clap'):
            for number in range(10):
                person = 'abcde'[number % 5]
                make_video(tmp_path / name / person / f'{person}{number}.mp4')
        return tmp_path

    @pytest.mark.parametrize('group_by', ['folder', r'(\w)\d\.mp4'])
    def test_a_person_is_on_one_side(self, succeed, people, group_by):
        succeed('build_list.py', people, '--group-by', group_by)
        train, val = (
            [line.split('/') for line in (people / f'{s}.txt').open()] for s in ('train', 'val')
        )
        assert (len(train), len(val)) == (16, 4)
        assert len({person for _, person, _ in val}) == 1
        assert {person for _, person, _ in val}.isdisjoint(person for _, person, _ in train)

    @pytest.mark.parametrize(
        ('group_by', 'message'),
        [('x(.)', "--group-by 'x(.)' does not match"), ('(', 'missing )'), ('mp4', 'other groups')],
    )
    def test_unfit_patterns(self, fail, people, group_by, message):
        assert message in fail('build_list.py', people, '--group-by', group_by)
        assert not list(people.glob('*.txt'))


class TestKindsOfFrames:
    @pytest.fixture
    def frames(self, tmp_path):
        """Makes the frames of two clips each of two classes."""

        def make(*names, others=None):
            for folder in ('clap/0', 'clap/1', 'wave/0', 'wave/1'):
                (tmp_path / folder).mkdir(parents=True)
                for name in others if others and folder == 'wave/1' else names:
                    cv2.imwrite(str(tmp_path / folder / name), np.zeros((8, 8, 3), np.uint8))
            return tmp_path

        return make

    def test_flow_beside_them_is_not_counted(self, succeed, frames):
        names = [f'{kind}_{i:05}.jpg' for kind in ('img', 'flow_x', 'flow_y') for i in (1, 2, 3)]
        root = frames(*names, '._img_00001.jpg')
        succeed('build_list.py', root)
        assert names_of(root) == ('img_{:05}.jpg', 1)
        assert {line.split()[1] for line in (root / 'train.txt').open()} == {'3'}

    @pytest.mark.parametrize(
        ('names', 'others', 'message'),
        [
            (['a_1.jpg', 'b_1.jpg'], None, 'several kinds of frames, a_….jpg, b_….jpg'),
            (['a.jpg'], None, 'must be numbered'),
            (['1.jpg'], ['0.jpg'], 'called the same'),
        ],
    )
    def test_what_no_template_fits_is_refused(self, fail, frames, names, others, message):
        root = frames(*names, others=others)
        assert message in fail('build_list.py', root)
        assert not list(root.glob('*.txt'))
