"""``python -m pan_mm tool``; what each tool does is in tests/benchmarks/pages/test_mmaction2.py."""

import sys

import pytest

from pan_mm.cli import main

CONFIG = 'pan-lite_r18_1xb16-4x1x8-4e_motionshapes-rgb.py'


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.setattr(sys, 'argv', [])
    return lambda *words: main(['tool', *map(str, words)])


def test_a_config_of_ours_by_its_name(tool, capsys):
    assert tool('print_config', CONFIG, '--options', 'model.backbone.stream=pa') == 0
    printed = capsys.readouterr().out
    assert "type='PANBackbone'" in printed and "stream='pa'" in printed


def test_no_such_tool(tool, capsys):
    assert tool('confusion') == 1
    error = capsys.readouterr().err
    assert 'has no tool confusion.py' in error and 'confusion_matrix' in error
