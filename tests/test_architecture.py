"""Imports and types are as pyproject.toml asks."""

import re

import pytest

from builders import ROOT

CORE = (
    'ops/reference.py',
    'models/persistence.py',
    'models/aggregation.py',
    'models/pan_backbone.py',
    'models/vap_head.py',
)


def test_imports_go_down(monkeypatch):
    linter = pytest.importorskip('importlinter.cli', reason='import-linter is not installed')
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(ROOT)
    assert linter.lint_imports() == linter.EXIT_STATUS_SUCCESS


@pytest.mark.slow
def test_types(monkeypatch, tmp_path):
    mypy = pytest.importorskip('mypy.api', reason='mypy is not installed')
    monkeypatch.chdir(ROOT)
    output, errors, status = mypy.run(['--cache-dir', str(tmp_path)])
    assert status == 0, output + errors


def test_pan_can_be_read_in_one_sitting():
    lines = sum(len((ROOT / 'pan_mm' / name).read_text().splitlines()) for name in CORE)
    assert lines <= 360


def test_every_room_says_what_lives_there():
    silent = [
        path.parent.relative_to(ROOT).as_posix()
        for path in ROOT.glob('pan_mm/**/__init__.py')
        if not path.read_text(encoding='utf-8').startswith('"""')
    ]
    assert silent == []


def test_tests_stand_by_themselves():
    """Only tests of benchmarks import those, and none imports another test."""
    imports = re.compile(r'^ *(?:from|import) (benchmarks|test_\w+)', re.MULTILINE)
    wrong = [
        f'{path.relative_to(ROOT)} imports {name}'
        for path in sorted((ROOT / 'tests').rglob('*.py'))
        for name in imports.findall(path.read_text(encoding='utf-8'))
        if name != 'benchmarks' or ROOT / 'tests' / 'benchmarks' not in path.parents
    ]
    assert wrong == []
