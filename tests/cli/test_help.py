"""The help of every command and tool ends with an example that its own parser takes."""

import argparse
import importlib.util
import re
import runpy
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from pan_mm.cli import COMMANDS, main
from pan_mm.config.find import require_config
from pan_mm.engine.upstream import find_tool

ROOT = Path(__file__).resolve().parents[2]
ALL = {path.relative_to(ROOT).as_posix(): path for path in sorted((ROOT / 'tools').rglob('*.py'))}
UPSTREAM = [name for name, path in ALL.items() if 'run_tool' in path.read_text('utf-8')]
TOOLS = sorted({*ALL} - {*UPSTREAM})


def example_in(shown, program):
    """Arguments of the example that ends a help text, all of whose options the text explains."""
    explained, _, example = shown.rpartition('\n\nexample:\n  ')
    assert example.startswith(f'{program} ') or example == f'{program}\n'
    assert example.count('\n') == 1
    assert set(re.findall(r' (--[\w-]+)', example)) <= set(re.findall(r'--[\w-]+', explained))
    return shlex.split(example)[len(program.split()) :]


@pytest.mark.parametrize('name', [None, *COMMANDS])
def test_command(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main([name, '--help'] if name else ['--help'])
    assert stop.value.code == 0
    program = 'python -m pan_mm'
    if name is None:
        example = capsys.readouterr().out.rpartition('example:\n')[2]
        name, *arguments = shlex.split(example)[len(program.split()) :]
    else:
        arguments = example_in(capsys.readouterr().out, f'{program} {name}')
    parser = argparse.ArgumentParser(allow_abbrev=False)
    import_module(f'pan_mm.cli.{name}').add_arguments(parser)
    parser.parse_args(arguments)


def load(path):
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize('path', TOOLS)
def test_tool(path, capsys, monkeypatch):
    tool = load(ROOT / path)
    monkeypatch.setattr(sys, 'argv', [path, '--help'])
    with pytest.raises(SystemExit) as stop:
        tool.parse_args()
    assert stop.value.code == 0
    arguments = example_in(capsys.readouterr().out, f'python {path}')
    monkeypatch.setattr(sys, 'argv', [path, *arguments])
    tool.parse_args()


@pytest.mark.parametrize('path', UPSTREAM)
def test_tool_of_mmaction(path, capsys, monkeypatch):
    monkeypatch.setattr(sys, 'argv', [path, '--help'])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / path), run_name='__main__')
    assert stop.value.code == 0
    arguments = example_in(capsys.readouterr().out, f'python {path}')
    monkeypatch.setattr(sys, 'argv', [path, *arguments])
    assert require_config(load(find_tool(Path(path).name)).parse_args().config)


def test_no_such_command(capsys):
    with pytest.raises(SystemExit) as stop:
        main(['predikt'])
    assert stop.value.code == 2
    assert "invalid choice: 'predikt'" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize('command', [['-m', 'pan_mm'], None])
def test_modules_of_the_current_folder_do_not_run(tmp_path, command):
    for name in ('random', 'decord', 'mmpretrain', 'numpy'):
        (tmp_path / f'{name}.py').write_text('open("ran", "w").close()')
    script = Path(sys.executable).with_name('pan_mm')
    if command is None and not script.exists():
        pytest.skip('pan_mm is not installed here')
    command = [sys.executable, *command] if command else [script]
    done = subprocess.run(
        [*map(str, command), '--version'], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.startswith('pan_mm ') and not (tmp_path / 'ran').exists(), done.stderr
