"""`.ci/gpu` works before there is a GPU: each of its steps, tried on the CPU."""

import os
import subprocess

from builders import ROOT

SCRIPT = ROOT / '.ci' / 'gpu'


STEPS = subprocess.run([SCRIPT, 'steps'], capture_output=True, text=True).stdout.split()


def test_a_run_takes_all_steps_and_fails_if_one_does(tmp_path):
    """Of a Python that fails at once; without a dataset there is nothing to train."""
    env = dict(os.environ, DEVICE='none', PATH=f'{tmp_path}:/usr/bin:/bin', PYTHONPATH='')
    (tmp_path / 'python').write_text('#!/bin/sh\nexit 3\n')
    (tmp_path / 'python').chmod(0o755)
    command = ['bash', SCRIPT, 'run', tmp_path / 'out', 'a.mp4']
    done = subprocess.run(command, env=env, cwd='/', capture_output=True, text=True)
    assert done.returncode == 1, done.stdout[-3000:] + done.stderr[-2000:]
    lines = (tmp_path / 'out' / 'steps.txt').read_text().splitlines()
    assert [line.split()[1] for line in lines] == STEPS
    assert [line.split()[1] for line in lines if 'FAILED' not in line] == ['utd-mhad']
