"""MMAction2's own tools, unmodified, on a config whose custom_imports name pan_mm."""

import json
import os
import re

import numpy as np
import pytest
import torch

from pan_mm.utils.checkpoint import load_checkpoint_file
from pan_mm.utils.errors import CheckpointError

pytestmark = pytest.mark.slow


def losses(job):
    log = max(job.work_dir.glob('*/vis_data/scalars.json'))
    lines = map(json.loads, log.read_text().splitlines())
    return [line['loss'] for line in lines if 'loss' in line]


def logged(job, key):
    """Last value of a metric that a test has written."""
    files = sorted(job.work_dir.glob('*/*.json'))
    found = [json.loads(path.read_text().splitlines()[-1]) for path in files]
    return [line[key] for line in found if key in line][-1]


def weights(job, epoch):
    return load_checkpoint_file(job.work_dir / f'epoch_{epoch}.pth')['state_dict']


def assert_same_weights(one, other):
    assert one.keys() == other.keys()
    for key in one:
        torch.testing.assert_close(one[key], other[key], rtol=1e-5, atol=1e-6, msg=key)


def test_load_from_and_dump(trained, make_job):
    checkpoint = trained.work_dir / 'epoch_1.pth'
    trained.test(checkpoint, '--dump', trained.dump)
    scores = trained.scores()
    assert scores.shape == (4, 2)
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)
    job = make_job()
    job.train('--cfg-options', f'load_from={checkpoint}', 'optim_wrapper.optimizer.lr=0.0')
    # With no learning rate the parameters stay as loaded; BN statistics move.
    loaded, kept = weights(trained, 1), weights(job, 1)
    assert all(torch.equal(loaded[key], kept[key]) for key in kept if key.endswith('conv.weight'))


def test_malicious_checkpoint_is_refused_by_the_tool(trained, tmp_path, evil_file):
    with pytest.raises(CheckpointError, match='evil.pth was refused.*system'):
        trained.test(evil_file)
    assert not (tmp_path / 'code-ran').exists()


def test_amp_on_cpu(make_job):
    amp, plain = make_job('amp', tsm=True), make_job('plain', tsm=True)
    amp.train('--amp')
    plain.train()
    # bfloat16 has 8 bits of mantissa: the first loss differs, but not by much.
    assert losses(amp)[0] != losses(plain)[0]
    assert losses(amp)[0] == pytest.approx(losses(plain)[0], rel=0.05)
    amp.train('--amp', '--resume', '--cfg-options', 'train_cfg.max_epochs=2')
    assert np.isfinite(losses(amp)).all()


KILL_RANK_1 = """
import faulthandler
import os
from pathlib import Path
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

faulthandler.dump_traceback_later(600, exit=True)  # should they wait for the killed one
rank = os.environ['RANK']
Path(__file__).with_name(f'pid{rank}').write_text(str(os.getpid()))

@HOOKS.register_module()
class Dies(Hook):
    def before_train_iter(self, runner, **kwargs):
        if runner.iter == 3 and rank == '1':
            os.kill(os.getpid(), 9)
"""


def test_three_processes_equal_one_also_after_one_was_killed(make_job, tmp_path):
    """Six clips to train, so that the batches are the same; five to test, which leaves one over.

    BN would see other batches in each process, so it keeps its initial statistics.
    """
    for name, count in (('six', 6), ('five', 5)):
        lines = ''.join(f'{i % 4}.mp4 {i % 2}\n' for i in range(count))
        (tmp_path / name).write_text(lines)
    options = [
        '--cfg-options',
        'model.backbone.norm_eval=True',
        'train_cfg.max_epochs=2',
        f'train_dataloader.dataset.ann_file={tmp_path}/six',
        f'val_dataloader.dataset.ann_file={tmp_path}/five',
        f'test_dataloader.dataset.ann_file={tmp_path}/five',
    ]
    one, three = make_job('one', batch_size=3), make_job('three', batch_size=1)

    def commands(job):
        train = ('train', '--resume', *options, 'custom_hooks=[]')
        scores = ('--dump', job.dump, *options, 'custom_hooks=[]')
        return [train, ('test', job.work_dir / 'epoch_2.pth', *scores)]

    one.run(commands(one))
    # The config's own hook becomes the deadly one.
    killed = ('train', *options, 'custom_hooks.0.type=Dies')
    result = three.run([killed], processes=3, preamble=KILL_RANK_1, check=False)
    assert result.returncode != 0
    # Another process may lose its connection, and end, before the launcher looks at the killed one.
    assert re.search('Signal 9 .SIGKILL|remote worker', result.stdout + result.stderr)
    for rank in range(3):
        with pytest.raises(ProcessLookupError):
            os.kill(int((three.folder / f'pid{rank}').read_text()), 0)
    assert not (three.work_dir / 'epoch_2.pth').exists()

    three.run(commands(three), processes=3)
    assert_same_weights(weights(three, 2), weights(one, 2))
    assert three.scores().shape == (5, 2)
    np.testing.assert_allclose(three.scores(), one.scores(), rtol=1e-5)
    accuracies = [logged(job, 'acc/top1') for job in (one, three)]
    assert accuracies[0] == accuracies[1]


def test_show_dir(trained, tmp_path):
    checkpoint = trained.work_dir / 'epoch_1.pth'
    trained.test(checkpoint, '--show-dir', tmp_path / 'show', '--interval', '2')
    assert len(list((tmp_path / 'show').glob('*/*/*.png'))) == 2 * 4
