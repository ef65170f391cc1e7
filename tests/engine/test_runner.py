"""What ``CheckedRunner`` refuses, and where it goes on."""

import pytest
import torch

from pan_mm.utils.errors import DataError

CHECKED = {'runner_type': 'CheckedRunner'}
SAVE = {'default_hooks.checkpoint': dict(type='SafeCheckpointHook', interval=1)}


@pytest.mark.parametrize('work', ['train', 'test'])
def test_nothing_starts_with_bad_data(make_runner, tmp_path, work):
    runner = make_runner(['0.mp4', 'gone.mp4', '1.mp4'], also=('test',), **CHECKED, **SAVE)
    with pytest.raises(DataError, match=rf'1 problem\(s\) found.*\n  {work}: .*gone.mp4'):
        getattr(runner, work)()
    assert not list((tmp_path / 'work').glob('*.pth'))


def test_a_test_needs_every_weight(make_runner, tmp_path):
    state = make_runner().model.state_dict()
    state.pop('cls_head.fc_cls.bias')
    torch.save(dict(state_dict=state), tmp_path / 'part.pth')
    runner = make_runner(also=('test',), load_from=str(tmp_path / 'part.pth'), **CHECKED)
    with pytest.raises(RuntimeError, match='cls_head.fc_cls.bias'):
        runner.test()


def test_it_resumes_where_the_note_was_not_finished(make_runner, tmp_path):
    one = {**CHECKED, **SAVE, 'train_cfg.max_epochs': 1}
    make_runner(**one).train()
    (tmp_path / 'work' / 'last_checkpoint').write_text('')
    runner = make_runner(resume=True, **CHECKED, **SAVE)
    runner.train()
    assert runner.epoch == 2 and runner.iter == 4
    assert (tmp_path / 'work' / 'epoch_2.pth').exists()
