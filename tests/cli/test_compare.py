"""The comparison of models, in a process of its own, as users start it."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest


@pytest.fixture
def compare(videos, tmp_path):
    """Runs the command on six training videos of two classes; returns what ``process`` does."""
    folder = tmp_path / 'own'
    for label, name in enumerate(('clap', 'wave')):
        shutil.copytree(videos, folder / name)
        for split, numbers in dict(train=(0, 1, 2), val=(3,)).items():
            with open(folder / f'{split}.txt', 'a') as file:
                file.writelines(f'{name}/{number}.mp4 {label}\n' for number in numbers)
    (folder / 'label_map.txt').write_text('clap\nwave\n')

    def run(*options, process=subprocess.run, **more):
        command = [sys.executable, '-m', 'pan_mm', 'compare', folder, '--size', '32', *options]
        env = dict(os.environ, OMP_NUM_THREADS='1')
        return process(command, cwd=tmp_path, env=env, text=True, **more)

    return run


@pytest.mark.slow
def test_a_killed_training_continues_and_models_are_compared(compare, tmp_path):
    out = tmp_path / 'work_dirs' / 'compare_own'
    first = compare(
        *('--models', 'pan-pa', '--minutes', '0.04'),
        process=subprocess.Popen,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not (out / 'pan-pa' / 'last_checkpoint').exists():
        assert first.poll() is None
        time.sleep(0.02)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert not (out / 'compare.csv').exists()

    options = dict(capture_output=True, timeout=400)
    second = compare('--models', 'pan-pa', 'tsm', '--minutes', '0.04', **options)
    assert second.returncode == 0, second.stderr

    rows = list(csv.DictReader((out / 'compare.csv').open(encoding='utf-8')))
    assert [row['model'] for row in rows] == ['pan-pa', 'tsm']
    assert rows[0]['minutes'] == '' and float(rows[1]['minutes']) > 0  # what was killed took more
    for row in rows:
        assert row['pixels'] == '32' and row['videos'] == '2' and int(row['steps']) > 1
        assert row['verdict'] in second.stdout and row['command'] in second.stdout
    assert (out / 'compare.png').stat().st_size > 1000
