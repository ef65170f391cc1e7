import hashlib
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from benchmarks.run_list import ListError, check_folders, read_list

ROOT = Path(__file__).resolve().parents[2]
TSN = 'tsn_r18_1xb16-1x1x8-4e_motionshapes-rgb'


@pytest.fixture
def write(tmp_path):
    """Writes a list of runs."""

    def write(*groups):
        path = tmp_path / 'list.yml'
        path.write_text(yaml.safe_dump(list(groups)))
        return path

    return write


class TestList:
    @pytest.mark.parametrize('path', sorted(ROOT.glob('benchmarks/*.yml')), ids=lambda p: p.stem)
    def test_committed_lists(self, path):
        runs = read_list(path)
        assert all((ROOT / run.config).is_file() for run in runs)

    def test_groups_are_configs_times_seeds_in_order(self, write):
        first = dict(configs=[TSN], seeds=[0, 1])
        second = dict(first, seeds=[0], tag='lr2', options={'a.lr': 2, 'b.scale': [-1, 72]})
        *others, last = read_list(write(first, second))
        assert [run.name for run in others] == [f'{TSN}_seed0', f'{TSN}_seed1']
        assert (last.name, last.seed) == (f'{TSN}_lr2_seed0', 0)
        command = last.command('train.py', '--seed', '0')
        config = f'configs/recognition/tsn/{TSN}.py'
        options = ['--cfg-options', 'a.lr=2', 'b.scale=[-1,72]']
        assert command[1:] == ['tools/train.py', config, '--seed', '0', *options]

    @pytest.mark.parametrize(
        ('group', 'message'),
        [
            (dict(configs=[TSN]), 'group 1 needs configs and seeds'),
            (dict(configs=['tsx'], seeds=[0]), 'group 1: there is no config tsx'),
            (dict(configs=TSN, seeds=[0]), 'configs must be a list of str'),
            (dict(configs=[TSN], seeds=['0']), "seeds must be a list of int, got .'0'"),
            (dict(configs=[TSN], seeds=[0, 0]), f'{TSN}_seed0 is there twice'),
            (dict(configs=[TSN], seeds=[0], lr=1), 'has lr; it takes'),
            (dict(configs=[TSN], seeds=[0], options=['a=1']), 'options must be a mapping'),
        ],
    )
    def test_what_is_wrong_is_named(self, write, group, message):
        with pytest.raises(ListError, match=message):
            read_list(write(group))

    def test_no_list(self, tmp_path):
        with pytest.raises(ListError, match='cannot be read'):
            read_list(tmp_path / 'none.yml')


def test_a_folder_of_other_settings_is_refused(write, tmp_path):
    runs = read_list(write(dict(configs=[TSN], seeds=[0])))
    folder = tmp_path / 'out' / runs[0].name
    folder.mkdir(parents=True)
    begun = dict(config=runs[0].config, seed=0, options={'optim_wrapper.optimizer.lr': 1})
    (folder / 'run.json').write_text(json.dumps(begun))
    with pytest.raises(ListError, match='begun with other settings'):
        check_folders(runs, tmp_path / 'out')


def tiny(epochs, folder):
    """Options of a training on a few clips of few pixels, rendered into a folder."""
    options = {'train_cfg.max_epochs': epochs, 'train_cfg.val_begin': epochs}
    options['env_cfg.dist_cfg.backend'] = 'gloo'
    stage = dict(type='ResNet', num_stages=1, strides=[1], dilations=[1], out_indices=[0])
    options.update({f'model.backbone.{key}': value for key, value in stage.items()})
    options['model.cls_head.in_channels'] = 64
    for split in ('train', 'val', 'test'):
        loader = f'{split}_dataloader'
        options.update({f'{loader}.batch_size': 2, f'{loader}.num_workers': 0})
        options[f'{loader}.persistent_workers'] = False
        sizes = dict(num_train=8, num_val=2, num_test=4, size=48, data_root=str(folder / 'data'))
        options.update({f'{loader}.dataset.{key}': value for key, value in sizes.items()})
    return options


def start(path, out):
    command = [sys.executable, '-X', 'faulthandler', '-m', 'benchmarks.run_list', path]
    command += ['--out', out, '--nice', '3']
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return subprocess.Popen([str(word) for word in command], cwd=ROOT, **pipes)


def printed_by(runner, seconds=300):
    """What a runner has printed at its end; of one that hangs, where its threads are."""
    try:
        return runner.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        runner.send_signal(signal.SIGABRT)
        pytest.fail(f'hangs: {runner.communicate()[0]}')


def processes_of(out):
    """Ids of the processes whose command line names the folder of results."""
    found = []
    for path in Path('/proc').glob('[0-9]*/cmdline'):
        try:
            words = path.read_bytes().split(b'\0')
        except OSError:
            continue
        if b'tools/train.py' in words and any(str(out).encode() in word for word in words):
            found.append(int(path.parent.name))
    return found


def wait_for(condition, seconds=240):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'waited in vain'
        time.sleep(0.05)


@pytest.mark.slow
def test_killed_and_stopped_it_continues_where_it_was(write, tmp_path):
    out = tmp_path / 'out'
    path = write(dict(configs=[TSN], seeds=[0, 1], options=tiny(8, tmp_path)))

    runners = [start(path, out), start(path, out)]
    stopped = {}  # each at its first checkpoint, wherever the other may be

    def both_have_saved():
        for run in read_list(path):
            if run.name not in stopped and any((out / run.name).glob('epoch_*.pth')):
                (stopped[run.name],) = processes_of(out / run.name)
                os.kill(stopped[run.name], signal.SIGSTOP)
        return len(stopped) == 2

    wait_for(both_have_saved)
    children = list(stopped.values())
    for pid in children:
        assert os.getsid(pid) == pid and os.getpriority(os.PRIO_PROCESS, pid) == 3
    for runner in runners:
        runner.kill()  # the trainings live on
        runner.communicate()
    os.kill(children[0], signal.SIGKILL)

    runner = start(path, out)  # of the runs, one is locked by the training that lives on
    wait_for(lambda: set(processes_of(out)) - set(children))
    time.sleep(1)
    runner.terminate()
    printed = printed_by(runner)
    assert runner.returncode == 1 and 'the same command continues' in printed
    assert printed.count('resumes') == 1
    os.kill(children[1], signal.SIGKILL)
    wait_for(lambda: not processes_of(out), 30)

    runners = [start(path, out), start(path, out)]
    printed = [printed_by(runner) for runner in runners]
    assert [runner.returncode for runner in runners] == [0, 0], printed
    assert ''.join(printed).count('resumes') == 2
    for run in read_list(path):
        finished = json.loads((out / run.name / 'finished.json').read_text())
        checkpoint = out / run.name / finished['checkpoint']
        assert checkpoint.name == 'epoch_8.pth'
        assert finished['sha256'] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
        assert torch.load(checkpoint, weights_only=False)['meta']['seed'] == run.seed
        scores = pickle.loads((out / run.name / finished['scores']).read_bytes())
        assert len(scores) == 4 and all(s['pred_score'].dtype == torch.float32 for s in scores)
        hits = [s['pred_score'].argmax() == s['gt_label'] for s in scores]
        assert finished['top1'] == 100 * sum(hits).item() / 4

    before = {file: file.stat().st_mtime_ns for file in out.rglob('*')}
    runner = start(path, out)
    assert '2 of 2 runs are finished' in printed_by(runner)
    assert before == {file: file.stat().st_mtime_ns for file in out.rglob('*')}


@pytest.mark.slow
def test_a_failing_run_is_named_and_the_others_are_done(write, tmp_path):
    options = tiny(1, tmp_path)
    bad = {'model.cls_head.num_segments': 4, 'model.cls_head.type': 'VAPHead'}
    path = write(
        dict(configs=[TSN], seeds=[0], tag='bad', options={**options, **bad}),
        dict(configs=[TSN], seeds=[0], options=options),
    )
    runner = start(path, tmp_path / 'out')
    printed = printed_by(runner)
    assert runner.returncode == 1
    assert f'failed: {TSN}_bad_seed0' in printed.splitlines()[-1]
    assert printed.count('bad_seed0 failed: tools/train.py ended with 1') == 2
    assert (tmp_path / 'out' / f'{TSN}_seed0' / 'finished.json').is_file()
