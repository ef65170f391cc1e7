"""Small datasets in the published layouts."""

import importlib.util
import sys

import cv2
import numpy as np
import pytest

from builders import ROOT, write_video


@pytest.fixture
def tool(monkeypatch, capsys):
    """Runs a tool of tools/data, in this process to be quick; gives its status and all it said."""

    def run(name, *args):
        path = ROOT / 'tools' / 'data' / name
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setattr(sys, 'argv', [str(path), *map(str, args)])
        status, message = 0, ''
        try:
            module.main()
        except SystemExit as end:
            status, message = (1, end.code) if isinstance(end.code, str) else (end.code or 0, '')
        out, err = capsys.readouterr()
        return status, err + message + out

    return run


@pytest.fixture
def succeed(tool):
    """Runs a tool that shall succeed; gives what it said."""

    def run(*args):
        status, said = tool(*args)
        assert status == 0, said
        return said

    return run


@pytest.fixture
def fail(tool):
    """Runs a tool that shall end with an error, without a traceback; gives what it said."""

    def run(*args):
        status, said = tool(*args)
        assert status == 1 and 'Traceback' not in said, said
        return said

    return run


def write_frames(folder, number):
    folder.mkdir(parents=True)
    for i in range(number):
        cv2.imwrite(str(folder / f'{i + 1:05}.jpg'), np.full((24, 32, 3), 9 * i, np.uint8))


def write_grays(path, number=12):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, [np.full((48, 64, 3), 9 * i, np.uint8) for i in range(number)])


@pytest.fixture
def make_video():
    """Function that writes a video, given its path and number of frames."""
    return write_grays


@pytest.fixture
def sthv1(tmp_path):
    """Something-Something V1 with three videos, and lists of MMAction2's tool."""
    for video, number in (('7', 5), ('8', 6), ('9', 7)):
        write_frames(tmp_path / 'rawframes' / video, number)
    (tmp_path / 'sthv1_train_list_rawframes.txt').write_text('7 5 5\n9 7 0\n')
    (tmp_path / 'sthv1_val_list_rawframes.txt').write_text('8 6 11\n')
    return tmp_path


@pytest.fixture
def own_videos(tmp_path):
    """A folder per class."""
    for name in ('wave', 'clap'):
        for i in range(5):
            write_grays(tmp_path / name / f'{i}.mp4')
    return tmp_path


@pytest.fixture
def own_frames(tmp_path):
    """A folder per class, and in it one of frames per video."""
    for name in ('wave', 'clap'):
        for i in range(5):
            write_frames(tmp_path / 'frames' / name / str(i), 12)
    return tmp_path / 'frames'
