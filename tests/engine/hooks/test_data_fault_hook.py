"""Bad files in a training, a validation and a test."""

import os
import shutil
import signal
import time

import pytest
import torch
from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform

from pan_mm.engine import DataFaultHook
from pan_mm.utils.errors import DataError, VideoError

GOOD = ['0.mp4', '1.mp4', '2.mp4', '3.mp4']


@TRANSFORMS.register_module()
class Misbehaves(BaseTransform):
    """Does to the process that reads ``bad`` what a faulty decoder does."""

    def __init__(self, bad, how):
        self.bad, self.how = bad, how

    def transform(self, results):
        if os.path.basename(results['filename']) == self.bad:
            if self.how == 'crash':
                os.kill(os.getpid(), signal.SIGSEGV)
            elif self.how == 'hang':
                time.sleep(600)
            elif self.how == 'vanish':
                os.remove(results['filename'])
            else:
                raise RuntimeError(f'a decoder that {self.how}')
        return results


@pytest.fixture
def folder(tmp_path, videos):
    """The good clips, and some that no decoder can read."""
    root = tmp_path / 'data'
    shutil.copytree(videos, root)
    (root / 'hollow.mp4').touch()
    (root / 'text.mp4').write_bytes(b'no video at all' * 100)
    content = (root / '3.mp4').read_bytes()
    (root / 'cut.mp4').write_bytes(content[: len(content) // 2])
    return root


BAD = ['hollow.mp4', 'text.mp4', 'cut.mp4', 'gone.mp4']


def hooks(**kwargs):
    """Without the checks before a run, which would stop at files that are missing or empty."""
    return {'custom_hooks': [dict(type='DataFaultHook', **kwargs)], 'preflight': False}


def workers(number):
    return {'train_dataloader.num_workers': number}


@pytest.mark.parametrize('num_workers', [0, 2])
def test_bad_files_are_skipped_and_counted(make_runner, folder, log, num_workers):
    runner = make_runner(GOOD + BAD, folder, **hooks(), **workers(num_workers))
    seen = []
    runner.model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs['inputs']), with_kwargs=True
    )
    runner.train()
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, DataFaultHook))
    assert {os.path.basename(path) for path in hook.skipped} == set(BAD)
    # Batches are whole, and every clip in them shows something.
    assert runner.iter == 2 * 4
    assert [len(batch) for batch in seen] == [2] * 8
    assert all(clip.std() > 0.1 for batch in seen for clip in batch)
    # Two epochs meet each of them twice or more, and say so once.
    lines = [line for line in log().splitlines() if 'Data fault' in line]
    assert len(lines) == len(BAD)
    for name in BAD:
        assert sum(str(folder / name) in line for line in lines) == 1
    assert '4 files could not be read; other samples took their place' in log()


@pytest.mark.parametrize('num_workers', [0, 1])
def test_too_many_stop_the_training(make_runner, folder, num_workers):
    runner = make_runner([*GOOD, *BAD], folder, **hooks(max_faults=2), **workers(num_workers))
    with pytest.raises(DataError, match=r'(?s)3 files cannot be read.*max_faults=2.*\.mp4'):
        runner.train()


@pytest.mark.parametrize('num_workers', [0, 1])
def test_nothing_but_bad_files_stops_at_once(make_runner, folder, num_workers):
    names = [f'lost{i}.mp4' for i in range(50)]
    runner = make_runner(names, folder, **hooks(max_faults=9), **workers(num_workers))
    with pytest.raises(DataError, match=r'(?s)10 files cannot be read.*lost\d+\.mp4: no such'):
        runner.train()


@pytest.mark.parametrize('num_workers', [0, 1])
def test_a_pipeline_that_always_fails_is_no_matter_of_files(make_runner, num_workers):
    first = [dict(type='Misbehaves', bad=name, how='raises') for name in GOOD]
    runner = make_runner(GOOD, first=first, **hooks(), **workers(num_workers))
    with pytest.raises(DataError, match=r'(?s)50 samples in a row.*0.mp4: a decoder that raises'):
        runner.train()


def test_no_fault_is_allowed_if_asked_for(make_runner, folder):
    runner = make_runner([*GOOD, 'text.mp4'], folder, **hooks(max_faults=0))
    with pytest.raises(VideoError, match='text.mp4'):
        runner.train()


def test_without_a_fault_the_log_says_so(make_runner, log):
    make_runner(**hooks()).train()
    assert 'All files that the training asked for could be read' in log()


def test_what_was_not_watched_is_not_vouched_for(make_runner, log):
    loop = dict(type='IterBasedTrainLoop', max_iters=2, _delete_=True)
    make_runner(**hooks(), **workers(1), train_cfg=loop).train()
    assert 'top1_acc' in log() and 'All files' not in log()


@pytest.mark.parametrize('how', ['raises', 'vanish'])
def test_a_decoder_that_fails(make_runner, folder, log, how):
    first = [dict(type='Misbehaves', bad='2.mp4', how=how)]
    runner = make_runner(GOOD, folder, first=first, **hooks())
    runner.train()
    assert '1 files could not be read' in log()
    assert (f'{how}' if how == 'raises' else 'no such file') in log()


def test_the_results_of_a_test_are_complete_or_none(make_runner, folder):
    for split in ('val', 'test'):
        runner = make_runner([*GOOD, 'text.mp4'], folder, also=(split,), **hooks())
        with pytest.raises(VideoError, match='text.mp4'):
            getattr(runner, split)()


@pytest.mark.parametrize('num_workers', [0, 1])
@pytest.mark.parametrize('split', ['val', 'test'])
def test_a_test_leaves_out_what_it_is_asked_to(make_runner, folder, log, split, num_workers):
    """Of batches of two clips, one is whole, one is half good, one is all bad."""
    names = ['0.mp4', '1.mp4', '2.mp4', 'text.mp4', 'cut.mp4', 'hollow.mp4']
    changes = {f'{split}_dataloader.num_workers': num_workers, **hooks(max_test_faults=3)}
    runner = make_runner(names, folder, also=(split,), **changes)
    seen = []
    runner.model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(len(kwargs['inputs'])), with_kwargs=True
    )
    metrics = getattr(runner, split)()
    assert seen == [2, 1]
    assert metrics['left_out'] == 3
    # The accuracy is that of the clips that were read.
    assert metrics['acc/top1'] * 3 == pytest.approx(round(metrics['acc/top1'] * 3))
    for name in names[3:]:
        lines = [line for line in log().splitlines() if str(folder / name) in line]
        assert len(lines) == 1 and 'left out' in lines[0]
    assert '3 clips could not be read and are left out of these results' in log()
    # Once more, as validations are: nothing is wrapped twice or left from before.
    assert getattr(runner, split)()['left_out'] == 3


@pytest.mark.parametrize('num_workers', [0, 1])
def test_more_than_may_be_left_out_stop_the_test(make_runner, folder, num_workers):
    changes = {'test_dataloader.num_workers': num_workers, **hooks(max_test_faults=2)}
    runner = make_runner([*BAD[:3], '0.mp4'], folder, also=('test',), **changes)
    with pytest.raises(DataError, match=r'(?s)3 files cannot be read.*max_test_faults=2.*hollow'):
        runner.test()


def test_a_test_of_nothing_is_no_result(make_runner, folder):
    runner = make_runner(BAD, folder, also=('test',), **hooks(max_test_faults=9))
    with pytest.raises(DataError, match='none of the clips to test could be read'):
        runner.test()


def test_several_processes_leave_nothing_out(make_runner, folder, monkeypatch):
    monkeypatch.setattr('pan_mm.engine.hooks.data_fault_hook.get_world_size', lambda: 3)
    runner = make_runner(GOOD, folder, also=('test',), **hooks(max_test_faults=1))
    with pytest.raises(ValueError, match='only in one process, not in 3'):
        runner.test()


@pytest.mark.slow
@pytest.mark.parametrize(
    ('how', 'message'), [('crash', 'killed by signal|exited unexpectedly'), ('hang', 'timed out')]
)
@pytest.mark.parametrize('split', ['train', 'test'])
def test_a_worker_that_dies_or_hangs(make_runner, folder, how, message, split):
    changes = {f'{split}_dataloader.num_workers': 1, 'runner_type': 'CheckedRunner'}
    runner = make_runner(
        GOOD,
        folder,
        also=('test',) if split == 'test' else (),
        first=[dict(type='Misbehaves', bad='2.mp4', how=how)],
        **changes,
        **hooks(timeout=10),
    )
    with pytest.raises(DataError, match=rf'(?s)({message}).*were at: \S*/2\.mp4\. Take'):
        runner.test() if split == 'test' else runner.train()


@pytest.mark.parametrize('bad', [dict(max_faults=-1), dict(timeout=0), dict(max_test_faults=-1)])
def test_senseless_arguments(bad):
    with pytest.raises(ValueError, match='must'):
        DataFaultHook(**bad)


@pytest.mark.slow
@pytest.mark.real_data
def test_real_clips(make_runner, clips_dir, log):
    """Of all the odd files, those that hold no video are skipped, and the training goes on."""
    names = [
        path.relative_to(clips_dir).as_posix()
        for part in ('robustness', 'negative')
        for path in sorted((clips_dir / part).iterdir())
    ]
    runner = make_runner(names, clips_dir, **hooks(), **{'train_cfg.max_epochs': 1})
    runner.train()
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, DataFaultHook))
    assert {os.path.basename(path) for path in hook.skipped} == {
        'corrupted_truncated_h264.mp4',
        'empty.mp4',
        'truncated_no_moov_maybe.mp4',
        'zeros.mp4',
    }
    weights = runner.model.state_dict().values()
    assert all(torch.isfinite(weight).all() for weight in weights)
