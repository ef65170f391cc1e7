"""MMAction2's own tools, unmodified, on a config whose custom_imports name pan_mm."""

import numpy as np
import pytest
import torch

from pan_mm.compat.checkpoint import load_checkpoint_file

pytestmark = pytest.mark.slow


def logged(job, key):
    import json

    (log,) = sorted(job.work_dir.glob('*/vis_data/scalars.json'))[-1:]
    return [json.loads(line)[key] for line in log.read_text().splitlines() if key in line]


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
    assert checkpoint['param_schedulers'][0]['last_step'] == 1
    assert 'ema_state_dict' in checkpoint


def test_loading_fails_upstream(trained):
    result = trained.test(trained.work_dir / 'epoch_1.pth', off=['checkpoint-loading'], check=False)
    assert result.returncode != 0 and 'HistoryBuffer' in result.stderr


def test_resume_equals_undisturbed_run(make_job):
    whole, halves = make_job('whole'), make_job('halves')
    whole.train('--cfg-options', 'train_cfg.max_epochs=2')
    halves.train()
    halves.train('--resume', '--cfg-options', 'train_cfg.max_epochs=2')
    assert_same_weights(weights(halves, 2), weights(whole, 2))


def test_load_from_and_dump(trained, make_job):
    checkpoint = trained.work_dir / 'epoch_1.pth'
    scores = trained.scores(checkpoint)
    assert scores.shape == (4, 2)
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)
    job = make_job()
    job.train('--cfg-options', f'load_from={checkpoint}', 'optim_wrapper.optimizer.lr=0.0')
    # With no learning rate the parameters stay what was loaded; BN statistics move.
    loaded, kept = weights(trained, 1), weights(job, 1)
    assert all(torch.equal(loaded[key], kept[key]) for key in kept if key.endswith('conv.weight'))


def test_malicious_checkpoint_is_refused_by_the_tool(trained, tmp_path, evil_file):
    result = trained.test(evil_file, check=False)
    assert result.returncode != 0
    assert str(evil_file) in result.stderr and 'system' in result.stderr
    assert not (tmp_path / 'code-ran').exists()


@pytest.mark.parametrize('tsm', [False, True])
def test_amp_on_cpu(make_job, tsm):
    job = make_job(tsm=tsm)
    job.train('--amp')
    plain = make_job('plain', tsm=tsm)
    plain.train()
    assert job.work_dir.joinpath('epoch_1.pth').is_file()
    amp_loss, loss = logged(job, 'loss'), logged(plain, 'loss')
    # bfloat16 has 8 bits of mantissa: the first loss differs, but not by much.
    assert amp_loss[0] != loss[0]
    assert amp_loss[0] == pytest.approx(loss[0], rel=0.05)


@pytest.mark.parametrize(
    ('off', 'error'),
    [('amp-on-cpu', 'only available training on gpu'), ('bfloat16-scores', 'BFloat16')],
)
def test_amp_on_cpu_fails_upstream(make_job, off, error):
    result = make_job().train('--amp', off=[off], check=False)
    assert result.returncode != 0 and error in result.stderr


def test_two_processes_equal_one(make_job):
    one, two = make_job('one', batch_size=2), make_job('two', batch_size=1)
    # BN would see other batches in each process, so it keeps its initial statistics.
    frozen = ['--cfg-options', 'model.backbone.norm_eval=True', 'custom_hooks=[]']
    one.train(*frozen)
    two.train(*frozen, processes=2)
    assert_same_weights(weights(two, 1), weights(one, 1))
    longer = [*frozen, 'train_cfg.max_epochs=2']
    one.train('--resume', *longer)
    two.train('--resume', *longer, processes=2)
    assert_same_weights(weights(two, 2), weights(one, 2))
    checkpoint = one.work_dir / 'epoch_2.pth'
    np.testing.assert_array_equal(two.scores(checkpoint, processes=2), one.scores(checkpoint))


@pytest.mark.parametrize(
    ('off', 'error'), [('gloo-on-cpu', 'cuda'), ('ddp-on-cpu', 'device_ids')]
)
def test_two_processes_fail_upstream(make_job, off, error):
    result = make_job().train(off=[off], processes=2, check=False)
    assert result.returncode != 0 and error in result.stderr.lower()


def test_compile_with_the_tsm_constructor(make_job):
    options = [
        '--cfg-options',
        'compile.backend=eager',
        'optim_wrapper.constructor=TSMOptimWrapperConstructor',
        'optim_wrapper.paramwise_cfg.fc_lr5=True',
        'custom_hooks=[]',
    ]
    plain, compiled = make_job('plain', tsm=True), make_job('compiled', tsm=True)
    plain.train('--cfg-options', *options[2:])
    compiled.train(*options)
    assert logged(compiled, 'loss') == pytest.approx(logged(plain, 'loss'), rel=1e-4)
    result = compiled.train(*options, off=['plain-param-groups'], check=False)
    assert result.returncode != 0 and 'ConfigDict' in result.stderr


def test_show_dir(trained, tmp_path):
    checkpoint = trained.work_dir / 'epoch_1.pth'
    trained.test(checkpoint, '--show-dir', tmp_path / 'show', '--interval', '2')
    assert len(list((tmp_path / 'show').glob('*/*/*.png'))) == 2 * 4
    result = trained.test(
        checkpoint, '--show-dir', tmp_path / 'no', off=['visualization-hook'], check=False
    )
    assert result.returncode != 0
