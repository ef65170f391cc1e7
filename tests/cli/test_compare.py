"""The comparison of models, in a process of its own, as users start it."""

import csv
import os
import shutil
import subprocess
import sys

import pytest


@pytest.fixture
def compare(videos, tmp_path):
    """Runs the command on six training videos of two classes; returns the CompletedProcess."""
    folder = tmp_path / 'own'
    for label, name in enumerate(('clap', 'wave')):
        shutil.copytree(videos, folder / name)
        for split, numbers in dict(train=(0, 1, 2), val=(3,)).items():
            with open(folder / f'{split}.txt', 'a') as file:
                file.writelines(f'{name}/{number}.mp4 {label}\n' for number in numbers)
    (folder / 'label_map.txt').write_text('clap\nwave\n')

    def run(*options):
        command = [sys.executable, '-m', 'pan_mm', 'compare', folder, '--size', '32', *options]
        return subprocess.run(
            command,
            cwd=tmp_path,
            env=dict(os.environ, OMP_NUM_THREADS='1'),
            capture_output=True,
            text=True,
            timeout=400,
        )

    return run


@pytest.mark.slow
def test_it_continues_and_compares(compare, tmp_path):
    first = compare('--models', 'pan-pa', '--minutes', '0.01')
    assert first.returncode == 0, first.stderr
    out = tmp_path / 'work_dirs' / 'compare_own'
    trained = (out / 'pan-pa' / 'verdict.json').stat().st_mtime_ns
    second = compare('--models', 'pan-pa', 'tsm', '--minutes', '0.01')
    assert second.returncode == 0, second.stderr
    assert (out / 'pan-pa' / 'verdict.json').stat().st_mtime_ns == trained
    rows = list(csv.DictReader((out / 'compare.csv').open(encoding='utf-8')))
    assert [row['model'] for row in rows] == ['pan-pa', 'tsm']
    for row in rows:
        assert row['pixels'] == '32' and row['videos'] == '2' and int(row['steps']) >= 1
        assert row['verdict'] in second.stdout and row['command'] in second.stdout
    assert (out / 'compare.png').stat().st_size > 1000
