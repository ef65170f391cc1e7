"""Bad files in a training, a validation and a test."""

import os
import shutil

import pytest

from pan_mm.engine import DataFaultHook
from pan_mm.engine.hooks.data_fault_hook import IN_A_ROW, WatchedPipeline
from pan_mm.utils.errors import DataError, VideoError

GOOD = ['0.mp4', '1.mp4', '2.mp4', '3.mp4']
BAD = ['hollow.mp4', 'text.mp4', 'cut.mp4', 'gone.mp4']


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


def hooks(**kwargs):
    """Without the checks before a run, which would stop at files that are missing or empty."""
    return {'custom_hooks': [dict(type='DataFaultHook', **kwargs)], 'preflight': False}


@pytest.mark.parametrize('num_workers', [0, 2])
def test_bad_files_are_skipped_and_counted(make_runner, folder, log, num_workers):
    changes = {'train_dataloader.num_workers': num_workers}
    runner = make_runner(GOOD + BAD, folder, **hooks(), **changes)
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


@pytest.mark.parametrize('num_workers', [0, 1])
def test_too_many_stop_the_training(make_runner, folder, num_workers):
    changes = {'train_dataloader.num_workers': num_workers, **hooks(max_faults=2)}
    runner = make_runner([*GOOD, *BAD], folder, **changes)
    with pytest.raises(DataError, match=r'(?s)3 files cannot be read.*max_faults=2.*\.mp4'):
        runner.train()


def test_a_pipeline_that_always_fails_is_no_matter_of_files():
    def raises(data):
        raise RuntimeError('no such transform')

    pipeline = WatchedPipeline(raises, max_faults=100)
    for _ in range(IN_A_ROW - 1):
        assert pipeline(dict(filename='0.mp4')) is None
    with pytest.raises(DataError, match=r'(?s)50 samples in a row.*0.mp4: no such transform'):
        pipeline(dict(filename='0.mp4'))


def test_no_fault_is_allowed_if_asked_for(make_runner, folder):
    runner = make_runner([*GOOD, 'text.mp4'], folder, **hooks(max_faults=0))
    with pytest.raises(VideoError, match='text.mp4'):
        runner.train()


@pytest.mark.parametrize('split', ['val', 'test'])
def test_the_results_of_a_test_are_complete_or_none(make_runner, folder, split):
    runner = make_runner([*GOOD, 'text.mp4'], folder, also=(split,), **hooks())
    with pytest.raises(VideoError, match='text.mp4'):
        getattr(runner, split)()
