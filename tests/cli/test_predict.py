"""``python -m pan_mm predict`` on real clips."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from builders import SMALL, first_stages
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

    def test_csv_file(self, predict, golf, empty, tmp_path):
        assert predict(empty, golf, '--topk', 3, '--out', tmp_path / 'a.csv') == 1
        with (tmp_path / 'a.csv').open(newline='') as file:
            bad, *good = csv.DictReader(file)
        assert 'empty file' in bad['error']
        assert [row['rank'] for row in good] == ['1', '2', '3']
        assert os.listdir(tmp_path) == ['a.csv']

    def test_folder_glob_and_list_agree(self, predict, clips_dir, tmp_path):
        clips = sorted((clips_dir / 'robustness').glob('derived_short_*'))
        (tmp_path / 'clips').mkdir()
        for clip in clips:
            (tmp_path / 'clips' / clip.name).symlink_to(clip)
        (tmp_path / 'list.txt').write_text(''.join(f'{clip}\n' for clip in clips))
        scores = []
        for number, arguments in enumerate(
            [
                [tmp_path / 'clips'],
                [clips_dir / 'robustness' / 'derived_short_*'],
                ['--list', tmp_path / 'list.txt'],
                [f'@{tmp_path / "list.txt"}'],
            ]
        ):
            out = tmp_path / f'{number}.jsonl'
            assert predict(*arguments, '--out', out) == 0
            scores.append([json.loads(line)['top'] for line in out.read_text().splitlines()])
        assert len(scores[0]) == 4
        assert all(score == scores[0] for score in scores)


def test_a_reader_that_has_had_enough(config, checkpoint, golf):
    command = [sys.executable, '-m', 'pan_mm', 'predict', golf, '--config', config]
    command += ['--checkpoint', checkpoint, '--device', 'cpu', '--format', 'jsonl']
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(list(map(str, command)), stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert done.returncode == 1
    assert 'Traceback' not in done.stderr and 'Broken pipe' not in done.stderr


def test_another_export_of_one_name_is_another_model(
    make_config, make_checkpoint, golf, tmp_path, capfd
):
    pytest.importorskip('onnxruntime')
    config = make_config(more=first_stages(1))
    checkpoint = make_checkpoint(config)
    exported = tmp_path / 'm.onnx'
    other = tmp_path / 'other.pth'
    state = torch.load(checkpoint)
    state['state_dict']['cls_head.fc_cls.bias'] += torch.arange(19.0)
    torch.save(state, other)

    def write_and_predict(weights):
        command = ['--config', config, '--checkpoint', weights, '--out', exported]
        assert main(['export', *map(str, command)]) == 0
        command[3:] = [exported, '--out', tmp_path / 'r.jsonl']
        return main(['predict', str(golf), *map(str, command)])

    assert write_and_predict(checkpoint) == 0
    assert write_and_predict(other) == 2
    assert 'holds results of another config, checkpoint' in capfd.readouterr().err


def test_progress(predict, clips_dir, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr('pan_mm.utils.terminal.SECONDS', 0)
    clips = sorted((clips_dir / 'robustness').glob('derived_short_*'))
    assert predict(*clips, '--out', tmp_path / 'a.jsonl') == 0
    lines = capfd.readouterr().err.splitlines()
    assert [line for line in lines if 'of 4 videos' in line] == [
        f'{number} of 4 videos' for number in range(1, 5)
    ]


class TestNothingDone:
    @pytest.mark.parametrize(
        ('arguments', 'message'),
        [
            ([], 'no videos'),
            (['/tmp/*.nothing'], 'matches no file'),
            (['a.mp4', '--out', 'a.xlsx'], 'give --format'),
            (['a.mp4', '--out', 'nowhere/a.csv'], 'folder does not exist'),
            (['a.mp4', '--list', 'nowhere.txt'], 'nowhere.txt'),
            (['a.mp4', '--out', 'a.npz'], 'results are written as table'),
            (['a.mp4', '--topk', '0'], 'topk must be positive'),
        ],
    )
    def test_usage(self, predict, arguments, message, capfd):
        assert predict(*arguments) == 2
        output = capfd.readouterr()
        assert message in output.err
        assert output.out == ''

    def test_checkpoint_that_does_not_fit(self, golf, make_config, checkpoint, tmp_path, capfd):
        config = make_config('rgb')
        out = ['--out', str(tmp_path / 'a.csv')]
        model = ['--config', str(config), '--checkpoint', str(checkpoint)]
        assert main(['predict', str(golf), *model, *out]) == 2
        assert 'another PAN stream' in capfd.readouterr().err
        assert os.listdir(tmp_path) == []


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

    def test_other_topk_is_refused(self, predict, golf, tmp_path, capfd):
        out = tmp_path / 'a.jsonl'
        assert predict(golf, '--out', out) == 0
        before = out.read_text()
        assert predict(golf, '--topk', 1, '--out', out) == 2
        assert 'give another --out' in capfd.readouterr().err
        assert out.read_text() == before


@pytest.mark.slow
def test_what_it_does_not_use_is_not_imported(golf):
    """The import of each takes a good part of the time to the first answer."""
    script = (
        'import sys\n'
        'from pan_mm.cli import main\n'
        "status = main(['predict', sys.argv[1], '--device', 'cpu'])\n"
        "unused = {'torch._dynamo', 'torch.distributed.fsdp', 'sympy', 'scipy.stats', 'timm'}\n"
        "unused |= {'ray', 'pyarrow'}\n"
        'print(status, sorted(unused & sys.modules.keys()))\n'
    )
    env = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    command = [sys.executable, '-c', script, golf]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.stdout.endswith('\n0 []\n') and 'golf' in done.stdout, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize('form', ['csv', 'jsonl'])
@pytest.mark.parametrize('name', ['SIGINT', 'SIGTERM', 'SIGHUP'])
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
