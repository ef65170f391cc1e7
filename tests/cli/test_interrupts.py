"""Ctrl-C, which a terminal sends to all processes of a command."""

import os
import signal
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.parametrize('command', [['serve', '--port', '0'], ['stream', '0']])
def test_while_a_model_is_loaded(tmp_path, command):
    os.mkfifo(tmp_path / 'labels')
    process = subprocess.Popen(
        [sys.executable, '-m', 'pan_mm', *command, '--label-map', tmp_path / 'labels'],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with open(tmp_path / 'labels', 'w'):  # once the command reads it
        os.killpg(process.pid, signal.SIGINT)
        error = process.communicate(timeout=100)[1]
    assert process.returncode == 1
    assert error.splitlines()[1:] == ['interrupted']  # after the name of the model


@pytest.mark.slow
def test_while_the_package_is_imported(tmp_path):
    (tmp_path / 'torch.py').write_text('raise KeyboardInterrupt')
    environment = dict(os.environ, PYTHONPATH=str(tmp_path))
    command = [sys.executable, '-m', 'pan_mm', 'predict', 'a.mp4']
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stderr == 'interrupted\n' and done.returncode != 0
