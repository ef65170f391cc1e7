"""No input makes a reader fail in an undocumented way.

Files are mutated from real ones, so that they get past the first check. ``FUZZ_EXAMPLES=5000``
tries more than the 60 inputs of each kind that a usual run does.
"""

import collections
import io
import os
import pickle
import socket
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmengine.logging import HistoryBuffer
from safetensors.torch import save_file

from builders import PLAYLISTS, decode, write_video
from pan_mm.datasets.checks import check_list
from pan_mm.datasets.container import CONTAINERS
from pan_mm.datasets.file_lists import read_label_map
from pan_mm.inference.scores import load_scores
from pan_mm.inference.videos import find_videos
from pan_mm.utils.checkpoint import load_checkpoint_file
from pan_mm.utils.errors import CheckpointError, DataError, VideoError

fuzz = settings(
    max_examples=int(os.environ.get('FUZZ_EXAMPLES', 60)),
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
NOISE = [b'\n', b'\r', b' ', b'\t', b'\0', b'..', b'/', b';', b',', b'-1', b'1e9', b'\xff', b'"']
NOISE += [b'\x0b', b'\x1c', '\u2028'.encode(), '\u0665'.encode(), b'{', b'[', b'1_0', b'9' * 30]
OPCODES = [bytes([code]) for code in b'cR.(}]tbiosNK\x80\x85\x93h0']
OPCODES += [b'cos\nsystem\n', b'cbuiltins\neval\n', b'ctorch\nload\n', b'cnumpy\nload\n']
HEADER = [b'F32', b'I8', b'BF16', b'[3,2]', b'[0,24]', b'99999999999', b'__metadata__', b'{}']


@st.composite
def mutated(draw, corpus, noise=NOISE):
    """One file of ``corpus`` with pieces taken out, doubled or replaced."""
    content = draw(st.sampled_from(corpus))
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 16)))
        pieces = st.sampled_from([content[start:end] * 2, b'']), st.binary(max_size=8)
        piece = draw(st.one_of(st.sampled_from(noise), *pieces))
        content = content[:start] + piece + content[end:]
    return content


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('fuzz')


def written(folder, content, suffix):
    path = folder / f'input{suffix}'
    path.write_bytes(content)
    return path


def _saved(legacy=False):
    buffer = io.BytesIO()
    value = dict(
        state_dict=collections.OrderedDict(weight=torch.ones(3, 2)),
        meta=dict(epoch=1, seed=np.int64(3), classes=('a', 'b')),
        message_hub=dict(loss=HistoryBuffer([1.0], [1])),
    )
    torch.save(value, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def _safetensors():
    weights = dict(weight=torch.ones(3, 2), steps=torch.tensor(3), half=torch.ones(3).half())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'a.safetensors')
        save_file(weights, path, dict(config='a = 1', mean='[1.0]'))
        return path.read_bytes()


def _dump():
    samples = [
        dict(pred_score=torch.tensor([0.2, 0.8]), gt_label=torch.tensor([i]), filename=f'{i}.mp4')
        for i in range(2)
    ]
    return pickle.dumps(samples, protocol=2)


LISTS = [b'a.mp4 0\nb/c.mp4 12\n', b'folder 12 3\nother 7 1\n', b'a.mp4,0\n', b'a.mp4 0 3 5\n']
CHECKPOINTS = [_saved(), _saved(True)]
LIST = dict(type='VideoDataset', data_prefix=dict(video=''))
# Name: reader, its documented errors, suffix, files to mutate.
READERS = {
    'annotations': (
        lambda p: check_list(dict(LIST, ann_file=str(p))),
        DataError,
        '.txt',
        mutated(LISTS),
    ),
    'label map': (read_label_map, DataError, '.txt', mutated([b'clap\nwave\n'])),
    'list of videos': (
        lambda path: find_videos([f'@{path}']),
        (ValueError, OSError),
        '.txt',
        mutated([b'clips/*.mp4\na.mp4\n', *LISTS]),
    ),
    'checkpoint': (
        load_checkpoint_file,
        CheckpointError,
        '.pth',
        mutated(CHECKPOINTS, NOISE + OPCODES),
    ),
    'safetensors': (
        load_checkpoint_file,
        CheckpointError,
        '.safetensors',
        mutated([_safetensors()], NOISE + HEADER),
    ),
    'dumped scores': (load_scores, DataError, '.pkl', mutated([_dump()], NOISE + OPCODES)),
}


@pytest.mark.parametrize('name', READERS)
@fuzz
@given(data=st.data())
def test_readers(name, data, folder):
    read, errors, suffix, contents = READERS[name]
    path = str(written(folder, data.draw(contents), suffix))
    try:
        read(path)
    except errors as error:
        assert str(error)


FORMATS = [('mp4', 'mpeg4'), ('avi', 'mjpeg'), ('mpegts', 'mpeg2video'), ('flv', 'flv')]


def _video(form, codec):
    """A small video in one of the containers that FFmpeg writes here."""
    pictures = [np.full((48, 64, 3), 40 * value, np.uint8) for value in range(6)]
    pix_fmt = 'yuvj420p' if codec == 'mjpeg' else 'yuv420p'
    return write_video(io.BytesIO(), pictures, codec, form, pix_fmt).getvalue()


VIDEOS = [_video(*names) for names in FORMATS]
LISTENER = socket.create_server(('127.0.0.1', 0))  # nothing may connect
LISTENER.setblocking(False)
ADDRESS = f'http://127.0.0.1:{LISTENER.getsockname()[1]}'
LEADING = [text.format(other=ADDRESS, net=ADDRESS).encode() for text in PLAYLISTS.values()]
MARKS = [mark for marks, _ in CONTAINERS.values() for _, mark in marks]


@fuzz
@given(
    head=st.one_of(st.just(b''), st.sampled_from(MARKS), mutated(VIDEOS, NOISE + MARKS)),
    tail=st.one_of(st.just(b''), mutated(LEADING, NOISE + MARKS), st.sampled_from(VIDEOS)),
    suffix=st.sampled_from(['', '.mp4', '.m3u8', '.sdp', '.ffconcat']),
)
def test_videos(folder, head, tail, suffix):
    """Mutated videos, playlists behind a container's first bytes, and files of both."""
    path = str(written(folder, head + tail, suffix))
    try:
        images = decode(path, None, max_bytes=2**20, max_pixels=1000 * 256 * 256)['imgs']
        assert all(image.ndim == 3 and image.dtype == np.uint8 for image in images)
    except VideoError as error:
        assert path in str(error)
    finally:
        with pytest.raises(BlockingIOError):  # no address in the file was asked
            LISTENER.accept()
