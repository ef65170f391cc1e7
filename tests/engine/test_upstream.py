"""MMAction2's tools as ours run them."""

import sys

import pytest

from pan_mm.engine.upstream import find_tool, run_tool


def test_an_interrupted_training_says_how_to_go_on(monkeypatch):
    def interrupt(path, run_name):
        assert path == str(find_tool('train')) and run_name == '__main__'
        raise KeyboardInterrupt

    monkeypatch.setattr('runpy.run_path', interrupt)
    monkeypatch.setattr(sys, 'argv', ['train.py'])
    with pytest.raises(SystemExit, match='interrupted; --resume continues a training'):
        run_tool('train.py')
