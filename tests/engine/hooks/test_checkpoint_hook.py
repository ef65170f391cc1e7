"""What is on the disk when a checkpoint cannot be written, or its writer dies."""

import resource

import pytest
import torch
from mmengine.logging import MMLogger

from pan_mm.engine.hooks.checkpoint_hook import latest_checkpoint
from pan_mm.utils.checkpoint import load_checkpoint_file
from pan_mm.utils.errors import CheckpointError

SAVE = dict(type='SafeCheckpointHook', interval=1, max_keep_ckpts=1)


@pytest.fixture
def limit_file_size():
    """Sets the size at which this process's files are full, as those on a full disk are."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_full_disk_leaves_the_last_good_checkpoint(make_runner, tmp_path, limit_file_size):
    save, also = dict(SAVE, save_best='auto'), ('val',)
    runner = make_runner(default_hooks=dict(checkpoint=save), also=also)
    after_val = runner.train_loop.run_epoch

    def full_from_the_second_epoch_on():
        if runner.epoch == 1:
            limit_file_size(200_000)
        after_val()

    runner.train_loop.run_epoch = full_from_the_second_epoch_on
    work = tmp_path / 'work'
    with pytest.raises(OSError, match='epoch_2.pth'):
        runner.train()
    limit_file_size(resource.RLIM_INFINITY)
    names = {path.name for path in work.glob('*.pth')}
    assert 'epoch_1.pth' in names and 'epoch_2.pth' not in names
    assert len(names) == 2  # and the best
    assert latest_checkpoint(work) == str(work / 'epoch_1.pth')
    assert load_checkpoint_file(work / 'epoch_1.pth')['meta']['epoch'] == 1
    assert not list(work.glob('.*.pth*'))
    make_runner(default_hooks=dict(checkpoint=save), also=also, resume=True).train()
    assert load_checkpoint_file(work / 'epoch_2.pth')['meta']['epoch'] == 2
    assert not (work / 'epoch_1.pth').exists()


def test_only_what_max_keep_ckpts_says_stays(make_runner, tmp_path):
    save = dict(SAVE, save_best='auto', max_keep_ckpts=2)
    changes = {'train_cfg.max_epochs': 4}
    make_runner(default_hooks=dict(checkpoint=save), also=('val',), **changes).train()
    names = {path.name for path in (tmp_path / 'work').glob('*.pth')}
    assert {name for name in names if name.startswith('epoch')} == {'epoch_3.pth', 'epoch_4.pth'}
    assert len([name for name in names if name.startswith('best')]) == 1


def test_a_run_that_goes_on_elsewhere_leaves_the_first_one_alone(make_runner, tmp_path):
    hooks = dict(checkpoint=dict(SAVE, save_best='acc/top1', rule='less'))
    one = {'train_cfg.max_epochs': 1}
    first = make_runner(default_hooks=hooks, also=('val',), folder=tmp_path / 'a', **one)
    first.train()
    before = {path.name for path in (tmp_path / 'a' / 'work').glob('*.pth')}
    (best,) = (name for name in before if name.startswith('best'))
    resumed = make_runner(default_hooks=hooks, also=('val',), folder=tmp_path / 'b')
    resumed.resume(str(tmp_path / 'a' / 'work' / 'epoch_1.pth'))
    resumed.val_loop.run = lambda: resumed.call_hook('after_val_epoch', metrics={'acc/top1': -1.0})
    resumed.train()
    assert {path.name for path in (tmp_path / 'a' / 'work').glob('*.pth')} == before
    names = {path.name for path in (tmp_path / 'b' / 'work').glob('*.pth')}
    assert names == {'epoch_2.pth', best.replace('_1.', '_2.')}


def test_nothing_that_is_not_finite_is_saved(make_runner):
    state = dict(optimizer=dict(state={0: dict(m=torch.tensor([1.0, float('inf')]))}))
    name = 'optimizer.state.0.m'
    runner = make_runner(default_hooks=dict(checkpoint=SAVE))
    with pytest.raises(CheckpointError, match=f'{name} is NaN or infinite'):
        runner.call_hook('before_save_checkpoint', checkpoint=state)
    waiting = dict(optimizer={}, param_schedulers=[dict(best=float('inf'))])
    runner.call_hook('before_save_checkpoint', checkpoint=waiting)


def test_a_resumed_list_of_checkpoints_removes_nothing_at_once(make_runner, tmp_path):
    work = tmp_path / 'work'
    make_runner(default_hooks=dict(checkpoint=dict(SAVE, max_keep_ckpts=-1))).train()
    checkpoint = load_checkpoint_file(work / 'epoch_1.pth')
    checkpoint['message_hub']['runtime_info'].update(
        keep_ckpt_ids=[1, 2, 7], best_ckpt=str(work / 'notes.pth')
    )
    checkpoint['message_hub']['resumed_keys'].update(keep_ckpt_ids=True, best_ckpt=True)
    (work / 'epoch_7.pth').write_text('of another run')
    source = work / 'listed.pth'
    torch.save(checkpoint, source)
    runner = make_runner(default_hooks=dict(checkpoint=SAVE), load_from=str(source), resume=True)
    seen = []
    run_epoch = runner.train_loop.run_epoch

    def look():
        seen.extend(path.name for path in work.glob('epoch_*'))
        run_epoch()

    runner.train_loop.run_epoch = look
    runner.train()
    assert sorted(seen) == ['epoch_1.pth', 'epoch_2.pth', 'epoch_7.pth']
    assert load_checkpoint_file(work / 'epoch_2.pth')['meta']['epoch'] == 2
    assert not (work / 'epoch_1.pth').exists()
    assert (work / 'epoch_7.pth').exists()  # a run at epoch 1 cannot have written it


@pytest.fixture
def save(tmp_path):
    """Saves a checkpoint that a run can be resumed from: ``save(name, epoch)``."""

    def save(name, epoch=1):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        weights = dict(weight=torch.randn(500))
        meta = dict(epoch=epoch, iter=2 * epoch)
        torch.save(dict(state_dict=weights, meta=meta, message_hub={}), path)
        return path

    return save


class TestLatest:
    def test_a_copied_folder_has_its_own(self, tmp_path, save):
        for name in ('run', 'copy'):
            save(f'{name}/epoch_1.pth')
            (tmp_path / name / 'last_checkpoint').write_text(str(tmp_path / 'run' / 'epoch_1.pth'))
        assert latest_checkpoint(tmp_path / 'copy') == str(tmp_path / 'copy' / 'epoch_1.pth')
        (tmp_path / 'copy' / 'epoch_1.pth').unlink()  # the hook may save elsewhere, by out_dir
        assert latest_checkpoint(tmp_path / 'copy') == str(tmp_path / 'run' / 'epoch_1.pth')

    @pytest.mark.parametrize('note', [b'gone/epoch_3.pth', b'\xff\xfe\0\x80.pth', None])
    def test_a_note_that_was_not_finished(self, tmp_path, save, note):
        for name in ('epoch_9.pth', 'epoch_10.pth', 'best_acc_top1_epoch_11.pth', '.epoch_12.pth'):
            save(name)
        if note is not None:
            (tmp_path / 'last_checkpoint').write_bytes(note)
        assert latest_checkpoint(tmp_path) == str(tmp_path / 'epoch_10.pth')

    def test_a_remote_one_is_for_the_user_to_name(self, tmp_path):
        (tmp_path / 'last_checkpoint').write_text('s3://runs/epoch_3.pth')
        with pytest.raises(CheckpointError, match='names s3://runs/epoch_3.pth.*--resume PATH'):
            latest_checkpoint(str(tmp_path))

    @pytest.mark.parametrize('damage', ['cut', 'weights'])
    def test_damaged_ones_are_passed_over(self, tmp_path, save, caplog, damage):
        save('epoch_1.pth')
        for epoch in (2, 3):
            path = save(f'epoch_{epoch}.pth', epoch)
            content = bytearray(path.read_bytes())
            if damage == 'cut':
                content = content[: len(content) // 2]
            path.write_bytes(content)
            if damage == 'weights':
                torch.save(dict(state_dict=dict(weight=torch.zeros(1)), meta={}), path)
        (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_3.pth'))
        MMLogger.get_instance(f'passed-over-{damage}').addHandler(caplog.handler)
        assert latest_checkpoint(tmp_path) == str(tmp_path / 'epoch_1.pth')
        said = caplog.text
        assert said.index('epoch_1.pth') < said.index('epoch_3.pth') < said.index('epoch_2.pth')
        (tmp_path / 'epoch_1.pth').unlink()
        with pytest.raises(CheckpointError, match=r'no whole checkpoint[\s\S]*3.pth[\s\S]*2.pth'):
            latest_checkpoint(tmp_path)


@pytest.mark.parametrize('num_workers', [0, 2])
def test_a_resumed_run_is_the_undisturbed_one(make_runner, tmp_path, num_workers):
    """Random frames and dropout included."""
    changes = {
        'default_hooks.checkpoint': dict(type='SafeCheckpointHook', interval=1),
        'custom_hooks': [dict(type='EpochSeedHook')],
        'train_dataloader.num_workers': num_workers,
    }
    whole = make_runner(folder=tmp_path / 'whole', **changes)
    whole.train()
    one = {**changes, 'train_cfg.max_epochs': 1}
    make_runner(folder=tmp_path / 'halves', **one).train()
    halves = make_runner(folder=tmp_path / 'halves', resume=True, **changes)
    halves.train()
    assert halves.epoch == 2
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, halves.model.state_dict()[name]), name
