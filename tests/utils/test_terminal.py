"""Output on a real terminal and in a pipe."""

import os
import re
import sys
from contextlib import suppress

import pytest

from pan_mm.utils import terminal

ROWS = [('wave', '7'), ('[clap] :wave:', '12')]


@pytest.fixture
def screen(monkeypatch):
    """Connects streams by name to a terminal of 24 columns; ``screen.read()`` is all it got."""
    pty = pytest.importorskip('pty', reason='a terminal of POSIX')
    monkeypatch.setenv('TERM', 'xterm')
    monkeypatch.setenv('COLUMNS', '24')
    monkeypatch.delenv('NO_COLOR', raising=False)
    ours, theirs = pty.openpty()
    stream = os.fdopen(theirs, 'w', encoding='utf-8')

    def connect(*names):
        for name in names:
            monkeypatch.setattr(sys, name, stream)

    def read():
        stream.close()
        shown = b''
        with suppress(OSError):  # Linux's end of a terminal
            while part := os.read(ours, 2**16):
                shown += part
        return shown.decode()

    connect.read = read
    yield connect
    stream.close()
    os.close(ours)


def without_codes(text):
    return re.sub(r'\x1b\[[\d;?]*[A-Za-z]', '', text).replace('\r\n', '\n')


def test_a_table_in_a_pipe(capsys):
    terminal.print_table(ROWS, ('class', 'videos'))
    assert capsys.readouterr().out == (
        'class          videos\nwave                7\n[clap] :wave:      12\n'
    )
    long = 'x' * 500
    terminal.print_table([('a', 'b c'), ('lang', long)])
    assert capsys.readouterr().out == f'  a     b c\n  lang  {long}\n'


def test_a_table_on_a_terminal(screen):
    screen('stdout')
    terminal.print_table([('name', 'one two three four five')])
    assert without_codes(screen.read()) == '  name  one two three\n        four five\n'


def test_styles_are_for_terminals(capsys, screen, monkeypatch):
    monkeypatch.setenv('FORCE_COLOR', '1')
    text = 'FAULT: [red] and a line of more than 24 columns'
    terminal.echo(text, 'red')
    assert capsys.readouterr().out == f'{text}\n'
    screen('stdout')
    terminal.echo(text, 'red')
    shown = screen.read()
    assert shown.startswith('\x1b[31mFAULT') and without_codes(shown) == f'{text}\n'


def test_a_bar_leaves_stdout_to_the_results(screen, capsys):
    screen('stderr')
    for number in terminal.track(iter('abc'), 3):
        print(number)
    assert capsys.readouterr().out == 'a\nb\nc\n'
    shown = screen.read()
    assert '1/3' in shown and without_codes(shown).rstrip().endswith('3/3')
    assert shown.rindex('\x1b[?25h') > shown.rindex('\x1b[?25l')  # the cursor is back
