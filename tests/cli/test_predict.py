"""``python -m pan_mm predict`` on real clips."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from builders import SMALL
from pan_mm.cli import main

pytestmark = pytest.mark.real_data
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def predict(config, checkpoint):
    def run(*arguments):
        model = ['--config', str(config), '--checkpoint', str(checkpoint), '--device', 'cpu']
        return main(['predict', *map(str, arguments), *model])

    return run


@pytest.fixture
def golf(clips_dir):
    return clips_dir / 'labelled' / 'hmdb51_golf.avi'


@pytest.fixture
def empty(clips_dir):
    return clips_dir / 'negative' / 'empty.mp4'


class TestOutput:
    def test_table_is_all_that_stdout_gets(self, predict, golf, clips_dir, capfd):
        assert predict(golf, '--topk', 2, '--label-map', clips_dir / 'label_map.txt') == 0
        (line,) = capfd.readouterr().out.splitlines()
        names = (clips_dir / 'label_map.txt').read_text().splitlines()
        assert line.startswith(str(golf))
        assert sum(f'% {name}' in line for name in names) == 2

    def test_json_lines_to_stdout(self, predict, golf, empty, capfd):
        assert predict(golf, empty, '--format', 'jsonl') == 1
        output = capfd.readouterr()
        good, bad = map(json.loads, output.out.splitlines())
        assert (len(good['top']), bad['video']) == (5, str(empty))
        assert '1 of 2 videos failed' in output.err


def test_a_reader_that_has_had_enough(config, checkpoint, golf):
    command = [sys.executable, '-m', 'pan_mm', 'predict', golf, '--config', config]
    command += ['--checkpoint', checkpoint, '--device', 'cpu', '--format', 'jsonl']
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(list(map(str, command)), stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert done.returncode == 1
    assert 'Traceback' not in done.stderr and 'Broken pipe' not in done.stderr


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['/tmp/*.nothing'], 'matches no file'),
        (['a.mp4', '--out', 'a.npz'], 'a.npz: the name must end in .jsonl, .json or .csv'),
        (['a.mp4', '--topk', '0'], 'topk must be positive, got 8 and 0'),
    ],
)
def test_bad_input(predict, arguments, message, capfd):
    assert predict(*arguments) == 1
    output = capfd.readouterr()
    assert message in output.err
    assert output.out == ''


class TestResume:
    def test_same_command_again(self, predict, golf, empty, tmp_path, capfd):
        out = tmp_path / 'a.jsonl'
        assert predict(golf, '--out', out) == 0
        with out.open('a') as file:
            file.write('{"video": "hal')
        assert predict(golf, empty, '--out', out) == 1
        assert predict(golf, empty, '--out', out) == 1
        assert 'resuming: 2 of 2 videos are done' in capfd.readouterr().err
        records = [json.loads(line) for line in out.read_text().splitlines()]
        assert [record['video'] for record in records] == [str(golf), str(empty)]


@pytest.mark.slow
@pytest.mark.parametrize(('form', 'name'), [('csv', 'SIGINT'), ('jsonl', 'SIGTERM')])
def test_an_interrupt_keeps_the_results(make_config, make_checkpoint, golf, tmp_path, form, name):
    config = make_config(more=SMALL)
    (tmp_path / 'videos').mkdir()
    for number in range(300):
        (tmp_path / 'videos' / f'{number:03}.avi').symlink_to(golf)
    out = tmp_path / 'out'
    out.mkdir()
    command = [sys.executable, '-m', 'pan_mm', 'predict', tmp_path / 'videos', '--batch-size', '1']
    command += ['--config', config, '--checkpoint', make_checkpoint(config), '--topk', '1']
    process = subprocess.Popen(
        list(map(str, [*command, '--out', out / f'r.{form}'])),
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1'),
    )
    while not any(path.stat().st_size > 500 for path in out.iterdir()):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(getattr(signal, name))
    error = process.communicate(timeout=300)[1]
    assert process.returncode == 1 and 'Traceback' not in error
    done = (out / f'r.{form}').read_text().count('\n') - (form == 'csv')
    assert f'interrupted: {done} of 300 videos are done' in error and 0 < done < 300
    assert {path.name for path in out.iterdir()} <= {f'r.{form}', '.r.jsonl.lock'}
