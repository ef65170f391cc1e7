"""MMAction2's own tools, unmodified, on a config whose custom_imports name pan_mm."""

import json

import numpy as np
import pytest
import torch

from pan_mm.compat.checkpoint import CheckpointError, load_checkpoint_file

pytestmark = pytest.mark.slow


def losses(job):
    log = max(job.work_dir.glob('*/vis_data/scalars.json'))
    lines = map(json.loads, log.read_text().splitlines())
    return [line['loss'] for line in lines if 'loss' in line]


def weights(job, epoch):
    return load_checkpoint_file(job.work_dir / f'epoch_{epoch}.pth')['state_dict']


def assert_same_weights(one, other):
    assert one.keys() == other.keys()
    for key in one:
        torch.testing.assert_close(one[key], other[key], rtol=1e-5, atol=1e-6, msg=key)


def test_checkpoint_of_mmengine_holds_all_its_state(trained):
    checkpoint = load_checkpoint_file(trained.work_dir / 'epoch_1.pth')
    history = checkpoint['message_hub']['log_scalars']['train/loss']
    assert history.data[0].shape == (2,) and history.mean() > 0
    assert checkpoint['meta']['iter'] == 2
    assert 'momentum_buffer' in checkpoint['optimizer']['state'][0]
    assert 'last_step' in checkpoint['param_schedulers'][0]
    assert 'ema_state_dict' in checkpoint


def test_upstream_cannot_load_its_own_checkpoint(trained):
    from mmengine.runner.checkpoint import load_from_local

    with pytest.raises(Exception, match='HistoryBuffer'):
        load_from_local(str(trained.work_dir / 'epoch_1.pth'), 'cpu')


def test_resume_equals_undisturbed_run(make_job):
    whole, halves = make_job('whole'), make_job('halves')
    whole.train('--cfg-options', 'train_cfg.max_epochs=2')
    halves.train()
    halves.train('--resume', '--cfg-options', 'train_cfg.max_epochs=2')
    assert_same_weights(weights(halves, 2), weights(whole, 2))


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


@pytest.mark.parametrize('tsm', [False, True])
def test_amp_on_cpu(make_job, tsm):
    amp, plain = make_job('amp', tsm=tsm), make_job('plain', tsm=tsm)
    amp.train('--amp')
    plain.train()
    # bfloat16 has 8 bits of mantissa: the first loss differs, but not by much.
    assert losses(amp)[0] != losses(plain)[0]
    assert losses(amp)[0] == pytest.approx(losses(plain)[0], rel=0.05)
    amp.train('--amp', '--resume', '--cfg-options', 'train_cfg.max_epochs=2')
    assert np.isfinite(losses(amp)).all()


def test_two_processes_equal_one(make_job):
    one, two = make_job('one', batch_size=2), make_job('two', batch_size=1)
    # BN would see other batches in each process, so it keeps its initial statistics.
    frozen = ['--cfg-options', 'model.backbone.norm_eval=True', 'custom_hooks=[]']
    for job, processes in ((one, 0), (two, 2)):
        commands = [
            ('train', *frozen),
            ('train', '--resume', *frozen, 'train_cfg.max_epochs=2'),
            ('test', job.work_dir / 'epoch_2.pth', '--dump', job.dump, *frozen),
        ]
        job.run(commands, processes=processes)
    assert_same_weights(weights(two, 1), weights(one, 1))
    assert_same_weights(weights(two, 2), weights(one, 2))
    np.testing.assert_allclose(two.scores(), one.scores(), rtol=1e-5)


def test_show_dir(trained, tmp_path):
    checkpoint = trained.work_dir / 'epoch_1.pth'
    trained.test(checkpoint, '--show-dir', tmp_path / 'show', '--interval', '2')
    assert len(list((tmp_path / 'show').glob('*/*/*.png'))) == 2 * 4
