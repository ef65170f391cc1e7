"""Memory stays where it is, however long it goes on."""

import os
import sys
from pathlib import Path

import pytest

from pan_mm.inference.inferencer import PANInferencer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith('linux'), reason='reads /proc'),
]
# What the allocators may keep over some hundreds of rounds; a leaked clip a round is far more.
ALLOWED = 8 << 20


def resident():
    """Bytes of this process that are in memory."""
    return int(Path('/proc/self/statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE')


def test_1000_more_predictions(make_config, videos):
    cfg = make_config(['0.mp4'], also=('test',))
    recognize = PANInferencer(cfg, batch_size=10)
    clips = [videos / f'{i % 4}.mp4' for i in range(3000)]
    sizes = []
    for number, result in enumerate(recognize.iterate(clips), 1):
        assert len(result['top']) == 2
        if number in (2000, 3000):  # buffers of the allocator have their size by then
            sizes.append(resident())
    assert sizes[1] - sizes[0] < ALLOWED


def test_200_training_iterations(make_runner):
    runner = make_runner(
        custom_hooks=[dict(type='DataFaultHook'), dict(type='InvalidLossHook')],
        **{'train_cfg.max_epochs': 100, 'default_hooks.logger.interval': 50},
    )
    sizes = {}
    run_epoch = runner.train_loop.run_epoch

    def measured():
        run_epoch()
        sizes[runner.iter] = resident()

    runner.train_loop.run_epoch = measured
    runner.train()
    assert runner.iter == 200
    assert sizes[200] - sizes[60] < ALLOWED
