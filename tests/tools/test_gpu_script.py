"""`.ci/gpu` works before there is a GPU: kernels and speeds, tried on the CPU, and how it reports.

Its trainings are those of `test_train_and_test.py`; `DEVICE=cpu .ci/gpu run OUT VIDEO` tries all.
"""

import json
import os
import subprocess

import numpy as np
import pytest

from builders import ROOT, write_video

SCRIPT = ROOT / '.ci' / 'gpu'
STEPS = subprocess.run([SCRIPT, 'steps'], capture_output=True, text=True).stdout.split()


@pytest.fixture
def call(tmp_path):
    """Run the script, with lines of sh in place of Python if there are any."""

    def call(*args, python=None, **env):
        env = dict(os.environ, PYTHONPATH='', **env)
        if python:
            (tmp_path / 'python').write_text(f'#!/bin/sh\n{python}\n')
            (tmp_path / 'python').chmod(0o755)
            env['PATH'] = f'{tmp_path}:/usr/bin:/bin'
        command = ['bash', SCRIPT, *args]
        return subprocess.run(command, env=env, cwd='/', capture_output=True, text=True)

    return call


def test_a_run_takes_all_steps_and_fails_if_one_does(tmp_path, call):
    """Of a Python that fails at once; without a dataset there is nothing to train."""
    done = call('run', tmp_path / 'out', 'a.mp4', python='exit 3', DEVICE='none')
    assert done.returncode == 1, done.stdout[-3000:] + done.stderr[-2000:]
    lines = (tmp_path / 'out' / 'steps.txt').read_text().splitlines()
    assert [line.split()[1] for line in lines] == STEPS
    assert [line.split()[1] for line in lines if 'FAILED' not in line] == ['utd-mhad']


@pytest.mark.parametrize('has', [True, False])
def test_kernels_are_not_skipped_unseen(tmp_path, call, has):
    python = f'case "$*" in *"import cuda.core"*) exit {int(not has)};; esac; echo "$*"'
    done = call('kernels', tmp_path / 'out', 'a.mp4', python=python)
    assert (done.returncode == 0) == has
    assert ('pytest' in (tmp_path / 'out' / 'kernels.log').read_text()) == has


def test_what_a_machine_lacks_is_looked_for_among_all_it_needs(tmp_path, call):
    python = 'for each in "$@"; do case $each in /dev/fd/*) cat $each;; esac; done; exit 1'
    names = call('pack', tmp_path / 'wheels', python=python).stdout
    assert all(name in names for name in ('mmengine', 'opencv', 'cuda-core', 'cuda-bindings'))
    assert 'av>' not in names and '-r ' not in names


def test_training_steps_by_both_kernels(tmp_path, call):
    call('training-step', tmp_path / 'out', 'a.mp4', python='echo "$@"', DEVICE='cpu')
    lines = (tmp_path / 'out' / 'training-step.log').read_text().splitlines()
    assert ['--backend cpu' in line for line in lines] == [False, True]
    for line, end in zip(lines, ('', '-cpu')):
        assert line.startswith('-m benchmarks.recognizer ')
        assert '--models PAN_Lite TSM ' in line and '--variants plain autocast ' in line
        assert f'/recognizer_gpu-training{end}.json ' in line and f'/profiles{end} ' in line


@pytest.mark.slow
@pytest.mark.parametrize(
    ('step', 'files'), [('kernels', []), ('pa-bfloat16', ['motion_gpu-bfloat16.json'])]
)
def test_a_step_on_the_cpu(tmp_path, call, step, files):
    pytest.importorskip('cuda.core', reason='cuda-core is not installed')
    noise = np.random.default_rng(0).integers(0, 256, (6, 32, 40, 3), dtype=np.uint8)
    video = write_video(tmp_path / 'noise.avi', noise, 'mjpeg', pix_fmt='yuvj420p')
    done = call(step, tmp_path / 'out', video, DEVICE='cpu')
    assert done.returncode == 0, done.stdout[-3000:]
    assert all(json.loads((tmp_path / 'out' / name).read_text()) for name in files)
