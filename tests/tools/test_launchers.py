"""The shell launchers, with programs of the same names before the real ones on PATH."""

import os
import shutil
import subprocess

import pytest

from builders import ROOT

TOOLS = ROOT / 'tools'
SCRIPTS = [*sorted(TOOLS.glob('*.sh')), ROOT / '.ci' / 'gpu']


@pytest.fixture
def launch(tmp_path):
    """Run a launcher; returns the words of each program that it called, line by line."""
    for program in ('srun', 'python'):
        path = tmp_path / program
        path.write_text(
            '#!/bin/sh\n'
            f'for word in {program} "$@"; do printf "%s\\n" "$word"; done\n'
            'printf "MASTER_PORT=%s\\n" "$MASTER_PORT"\n'
        )
        path.chmod(0o755)

    def run(name, *args, **variables):
        env = dict(os.environ, PATH=f'{tmp_path}{os.pathsep}{os.environ["PATH"]}', **variables)
        env.pop('MASTER_PORT', None)
        command = ['bash', str(TOOLS / name), *args]
        return subprocess.run(command, env=env, capture_output=True, text=True)

    return run


@pytest.mark.parametrize('script', SCRIPTS, ids=lambda path: path.name)
def test_shellcheck(script):
    if shutil.which('shellcheck') is None:
        pytest.skip('shellcheck is not installed')
    result = subprocess.run(['shellcheck', script], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(('tool', 'files'), [('train', ['c.py']), ('test', ['c.py', 'w.pth'])])
class TestLaunchers:
    def test_slurm(self, launch, tool, files):
        result = launch(
            *(f'slurm_{tool}.sh', 'part', 'my job', *files, '--cfg-options', 'a=[1, 2]'),
            GPUS='4',
            SRUN_ARGS='--qos=low --exclusive',
        )
        assert result.returncode == 0, result.stderr
        program, *words = result.stdout.splitlines()
        assert program == 'srun'
        at = words.index('python')
        assert {'--partition=part', '--job-name=my job', '--gres=gpu:4', '--ntasks=4'} <= set(
            words[:at]
        )
        assert {'--ntasks-per-node=4', '--qos=low', '--exclusive'} <= set(words[:at])
        assert '--kill-on-bad-exit=1' in words[:at]
        script = str(TOOLS / f'{tool}.py')
        launcher = ['--launcher', 'slurm', '--cfg-options', 'a=[1, 2]']
        assert words[at:-1] == ['python', '-u', script, *files, *launcher]
        assert 12000 <= int(words[-1].partition('=')[2]) < 32000

    def test_one_machine(self, launch, tool, files):
        result = launch(f'dist_{tool}.sh', *files, '2', '--seed', '1', PORT='29511')
        assert result.returncode == 0, result.stderr
        words = result.stdout.splitlines()
        assert words[:3] == ['python', '-m', 'torch.distributed.run']
        assert {'--nproc_per_node=2', '--master_port=29511', '--nnodes=1'} <= set(words)
        at = words.index(str(TOOLS / f'{tool}.py'))
        assert words[at + 1 : -1] == [*files, '--launcher', 'pytorch', '--seed', '1']
