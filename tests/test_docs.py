"""The snippets of the documentation work, and every command that it shows has the options shown."""

import re
import runpy
import shlex
import sys
from importlib import import_module

import pytest

from builders import ROOT, code_blocks
from pan_mm.cli import COMMANDS
from pan_mm.cli import main as pan_mm_main

DOCUMENTS = ('*.md', 'docs/*.md', 'configs/**/*.md', 'tools/**/*.md')
BENCHMARKS = sorted(
    '.'.join(path.relative_to(ROOT).with_suffix('').parts)
    for path in ROOT.glob('benchmarks/**/*.py')
    if '__main__' in path.read_text(encoding='utf-8')
)


def commands():
    """The command lines of the shell blocks that call the project's own programs."""
    shells = ('shell', 'bash', 'console')
    for place, _, text in code_blocks(shells, *DOCUMENTS, 'docs/tutorials/*.md'):
        for line in text.replace('\\\n', ' ').splitlines():
            words = [word for word in shlex.split(line, comments=True) if word != '…']
            if (
                words[:2] == ['python', '-m']
                and words[2].startswith(('pan_mm', 'benchmarks'))
                or any('tools/' in w for w in words[:2])
            ):
                yield pytest.param(words, id=f'{place} {" ".join(words[:3])}')


def help_of(program, capsys, monkeypatch, *first):
    """What a program prints with --help, and its exit status."""
    with pytest.raises(SystemExit) as stopped:
        if program == 'pan_mm':
            pan_mm_main([*first, '--help'])
        else:
            monkeypatch.setattr(sys, 'argv', [program, '--help'])
            if program.endswith('.py'):
                runpy.run_path(str(ROOT / program), run_name='__main__')
            else:
                is_package = (ROOT / program.replace('.', '/')).is_dir()
                import_module(f'{program}.__main__' if is_package else program).main()
    assert stopped.value.code in (0, None)
    return capsys.readouterr().out


def test_no_command_lists_the_commands(capsys):
    assert pan_mm_main([]) == 2
    listed = capsys.readouterr().out
    assert all(f'    {name} ' in listed for name in COMMANDS)


@pytest.mark.parametrize('name', BENCHMARKS)
def test_every_benchmark_says_how_it_is_used(name, capsys, monkeypatch):
    assert 'usage:' in help_of(name, capsys, monkeypatch)


@pytest.mark.parametrize('words', commands())
def test_options_in_the_documents_exist(words, capsys, monkeypatch):
    if words[1] == '-m' and words[2] != 'pan_mm':
        text = help_of(words[2], capsys, monkeypatch)
    elif words[1] == '-m':
        if words[3] == '--version':
            return
        names = words[3:5] if words[3] == 'tool' else words[3:4]
        text = help_of('pan_mm', capsys, monkeypatch, *names)
    else:
        program = words[1].replace('dist_', '').replace('slurm_', '').replace('.sh', '.py')
        if not (ROOT / program).exists():
            assert program.startswith('$'), f'{program} does not exist'
            return
        text = help_of(program, capsys, monkeypatch)
    shown = {word.partition('=')[0] for word in words if re.match(r'--?[a-z]', word)} - {'-m'}
    assert shown <= set(re.findall(r'(?<![\w-])--?[a-z][\w-]*', text))
    for word in words:
        if re.fullmatch(r'(configs|tools)/\S+', word):
            assert (ROOT / word).exists(), word


@pytest.mark.parametrize(
    'text', [pytest.param(code, id=place) for place, _, code in code_blocks(['python'], *DOCUMENTS)]
)
def test_python_in_the_documents(text):
    """It is compiled, and its imports run; tests/docs/test_configs.py trains the configs."""
    compile(text, 'document', 'exec')
    imports = [line for line in text.splitlines() if re.match('(from|import) ', line)]
    names = {}
    exec('\n'.join(imports), names)
    called = set(re.findall(r'\b([A-Z]\w+|load_\w+)\(', text))
    assert called <= set(names), 'a snippet uses what it does not import'
