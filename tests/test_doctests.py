"""The examples in docstrings give what they show."""

import doctest
from importlib import import_module

import pytest

from builders import ROOT

MODULES = sorted(
    '.'.join(path.relative_to(ROOT).with_suffix('').parts)
    for path in (ROOT / 'pan_mm').rglob('*.py')
    if '>>> ' in path.read_text(encoding='utf-8')
)


@pytest.mark.parametrize('name', MODULES)
def test_examples(name):
    module = import_module(name)
    result = doctest.testmod(module, extraglobs=dict(torch=pytest.importorskip('torch')))
    assert result.failed == 0
