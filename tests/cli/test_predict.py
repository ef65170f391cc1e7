"""``python -m pan_mm predict`` on real clips."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from builders import SMALL, first_stages
from pan_mm.cli import main

pytestmark = pytest.mark.real_data
ROOT = Path(__file__).resolve().parents[2]
NUM_PROCESSES = 3
NUM_VIDEOS = 30


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

    def test_json_to_stdout(self, predict, golf, empty, capfd):
        assert predict(golf, empty, '--format', 'json') == 1
        output = capfd.readouterr()
        good, bad = json.loads(output.out)
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
            out = tmp_path / f'{number}.json'
            assert predict(*arguments, '--out', out) == 0
            scores.append([result['top'] for result in json.loads(out.read_text())])
        assert len(scores[0]) == 4
        assert all(score == scores[0] for score in scores)


def test_features(predict, golf, empty, tmp_path):
    assert predict(golf, empty, golf, '--features', '--out', tmp_path / 'a.npz') == 1
    arrays = np.load(tmp_path / 'a.npz')
    assert arrays['video'].tolist() == [str(golf), str(empty)]
    features = arrays['features']
    assert features.shape == (2, 512) and features.dtype == np.float32
    assert np.isfinite(features[0]).all() and np.isnan(features[1]).all()
    assert arrays['error'][0] == '' and 'empty file' in arrays['error'][1]
    out = tmp_path / 'a.jsonl'
    for _ in range(2):  # the second run finds it done
        assert predict(golf, '--features', '--out', out) == 0
    (line,) = out.read_text().splitlines()
    assert json.loads(line)['features'] == pytest.approx(features[0].tolist(), rel=1e-5)
    assert predict(golf, '--out', out) == 2  # of classes


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
    pytest.importorskip('openvino')
    config = make_config(more=first_stages(1))
    checkpoint = make_checkpoint(config)
    exported = tmp_path / 'm.xml'
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
    assert predict(*clips, '--out', tmp_path / 'a.json') == 0
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
            (['a.mp4', '--format', 'parquet'], 'give --out NAME.parquet'),
            (['a.mp4', '--features', '--out', 'a.csv'], 'features are written as npz'),
            (['a.mp4', '--out', 'a.npz'], 'results are written as table'),
            (['a.mp4', '--features', '--format', 'npz'], 'give --out NAME.npz'),
            (['a.mp4', '--topk', '0'], 'topk must be at least 1'),
        ],
    )
    def test_usage(self, predict, arguments, message, capfd):
        assert predict(*arguments) == 2
        output = capfd.readouterr()
        assert message in output.err
        assert output.out == ''

    def test_checkpoint_that_does_not_fit(self, golf, make_config, checkpoint, tmp_path, capfd):
        config = make_config('rgb')
        out = ['--out', str(tmp_path / 'a.json')]
        model = ['--config', str(config), '--checkpoint', str(checkpoint)]
        assert main(['predict', str(golf), *model, *out]) == 2
        assert 'another PAN stream' in capfd.readouterr().err
        assert os.listdir(tmp_path) == []

    def test_several_processes_without_a_file(self, predict, golf, monkeypatch, capfd):
        monkeypatch.setenv('WORLD_SIZE', '2')
        assert predict(golf) == 2
        assert 'give --out NAME.jsonl or NAME.parquet' in capfd.readouterr().err


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

    def test_parquet(self, predict, golf, empty, tmp_path, capfd):
        parquet = pytest.importorskip('pyarrow.parquet', reason='pyarrow is not installed')
        out = tmp_path / 'a.parquet'
        assert predict(golf, '--out', out) == 0
        assert predict(golf, empty, '--out', out) == 1
        assert 'resuming: 1 of 2 videos are done' in capfd.readouterr().err
        good, bad = parquet.read_table(out).to_pylist()
        assert (good['video'], bad['video']) == (str(golf), str(empty))
        assert (len(good['top']), bad['top']) == (5, None)
        assert 'empty file' in bad['error']

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
        "unused = {'torch._dynamo', 'torch.distributed.fsdp', 'sympy', 'timm', 'torchvision'}\n"
        'print(status, sorted(unused & sys.modules.keys()))\n'
    )
    env = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    command = [sys.executable, '-c', script, golf]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.stdout.endswith('\n0 []\n') and 'golf' in done.stdout, done.stdout + done.stderr


@pytest.mark.slow
def test_three_processes_one_killed(make_config, make_checkpoint, clips_dir, tmp_path, launch):
    """After a kill -9 the same command under torchrun leaves each video done exactly once."""
    config = make_config(more=SMALL)
    checkpoint = make_checkpoint(config)
    (tmp_path / 'videos').mkdir()
    clips = sorted((clips_dir / 'labelled').glob('tennis_*'))
    for number in range(NUM_VIDEOS):
        (tmp_path / 'videos' / f'{number:03}.mp4').symlink_to(clips[number % len(clips)])
    out = tmp_path / 'out' / 'r.jsonl'
    out.parent.mkdir()
    command = ['predict', str(tmp_path / 'videos'), '--out', str(out)]
    command += ['--config', str(config), '--checkpoint', str(checkpoint), '--batch-size', '1']
    env = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    workers = []
    for rank in range(NUM_PROCESSES):
        process_env = dict(env, RANK=str(rank), WORLD_SIZE=str(NUM_PROCESSES))
        worker = [sys.executable, '-m', 'pan_mm', *command]
        workers.append(subprocess.Popen(worker, env=process_env))
    shard = out.with_name('r-00001-of-00003.jsonl')
    while not shard.exists() or shard.read_bytes().count(b'\n') < 3:
        assert workers[1].poll() is None
        time.sleep(0.02)
    workers[1].send_signal(signal.SIGKILL)
    assert [worker.wait(300) for worker in workers] == [0, -signal.SIGKILL, 0]
    with shard.open('rb+') as file:  # as if the kill had come in the middle of a line
        file.truncate(shard.stat().st_size - 10)
    done = len(shard.read_text().splitlines())

    result = launch(NUM_PROCESSES, 'pan_mm/__main__.py', *command)
    assert result.returncode == 0, result.stderr
    assert f'resuming: {done - 1} of' in result.stderr
    records = [json.loads(line) for path in out.parent.iterdir() for line in path.open()]
    names = sorted(Path(record['video']).name for record in records)
    assert names == [f'{number:03}.mp4' for number in range(NUM_VIDEOS)]
    assert done - 1 < len(shard.read_text().splitlines())
