"""No input makes a reader or an operator fail in an undocumented way.

Files are mutated from real ones, so that they get past the first check. ``FUZZ_EXAMPLES=5000``
tries more than the 60 inputs of each kind that a usual run does.
"""

import collections
import io
import os
import pickle
import socket
import string
import tempfile
import warnings
import zipfile
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmaction.datasets import VideoDataset
from mmaction.registry import MODELS
from mmengine.logging import HistoryBuffer
from mmengine.registry import DefaultScope
from safetensors.torch import save_file

from pan_mm.convert import convert_official_state_dict, read_architecture
from pan_mm.convert.official import model_config, official_name
from pan_mm.datasets import PANSampleFrames, VideoDecode, VideoInit
from pan_mm.datasets.checks import check_list, read_lines
from pan_mm.datasets.container import CONTAINERS, VIDEO_SUFFIXES
from pan_mm.datasets.file_lists import read_label_map
from pan_mm.inference.scores import load_scores
from pan_mm.inference.videos import find_videos
from pan_mm.models import VAPHead
from pan_mm.ops import persistence_of_appearance
from pan_mm.utils.checkpoint import load_checkpoint_file
from pan_mm.utils.errors import CheckpointError, DataError, VideoError
from pan_mm.utils.safetensors import save_safetensors

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


# Lists, labels, weights and scores -------------------------------------------------------------

LISTS = [
    b'a.mp4 0\nb/c.mp4 12\n',
    b'folder 12 3\nother 7 1\n',
    b'folder 5 12 3\n',
    b'a.mp4,0\n',
    b'a.mp4 0 3 5\n',
]


@fuzz
@given(
    content=mutated(LISTS),
    rawframes=st.booleans(),
    with_offset=st.booleans(),
    multi_class=st.booleans(),
    delimiter=st.sampled_from([None, ',', '\t']),
    num_classes=st.sampled_from([None, 1, 10, 400]),
    prefix=st.sampled_from(['', 'folder', 's3://bucket']),
)
def test_annotation_lists(folder, content, rawframes, with_offset, prefix, **options):
    path = written(folder, content, '.txt')
    try:
        problems = check_list(
            dict(
                type='RawframeDataset' if rawframes else 'VideoDataset',
                ann_file=str(path),
                data_prefix=dict(img=prefix, video=prefix),
                with_offset=with_offset,
                multi_class=options['multi_class'],
                delimiter=options['delimiter'] or ' ',
            ),
            options['num_classes'],
        )
    except DataError as error:
        assert str(error) == f'{path}: not a text file in UTF-8'
        return
    assert all(isinstance(problem, str) and str(path) in problem for problem in problems)
    form = [problem for problem in problems if ': no such ' not in problem]
    if not form and not rawframes and not options['multi_class']:
        # MMAction2 reads the same lines from each list without a problem.
        dataset = VideoDataset(
            str(path), [], dict(video=''), delimiter=options['delimiter'] or ' ', lazy_init=True
        )
        labels = [info['label'] for info in dataset.load_data_list()]
        assert len(labels) == len(read_lines(str(path)))
        if options['num_classes'] is not None:
            assert all(-1 <= label < options['num_classes'] for label in labels)


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
        ours, theirs = Path(folder, 'ours.safetensors'), Path(folder, 'theirs.safetensors')
        save_safetensors(ours, weights, config='a = 1', mean=[1.0])
        save_file(weights, theirs)
        return [ours.read_bytes(), theirs.read_bytes()]


def _dump():
    samples = [
        dict(pred_score=torch.tensor([0.2, 0.8]), gt_label=torch.tensor([i]), filename=f'{i}.mp4')
        for i in range(2)
    ]
    return pickle.dumps(samples, protocol=2)


# Name: reader, its documented errors, suffixes, files to mutate.
READERS = {
    'label map': (read_label_map, DataError, ['.txt'], mutated([b'clap\nwave\n'])),
    'list of videos': (
        lambda path: find_videos([f'@{path}']),
        (ValueError, OSError),
        ['.txt'],
        mutated([b'clips/*.mp4\na.mp4\n', *LISTS]),
    ),
    'checkpoint': (
        load_checkpoint_file,
        CheckpointError,
        ['.pth'],
        mutated([_saved(), _saved(True)], NOISE + OPCODES),
    ),
    'truncated checkpoint': (
        load_checkpoint_file,
        CheckpointError,
        ['.pth'],
        st.tuples(st.sampled_from([_saved(), _saved(True)]), st.integers(1, 20_000)).map(
            lambda both: both[0][: -both[1]]
        ),
    ),
    'safetensors': (
        load_checkpoint_file,
        CheckpointError,
        ['.safetensors'],
        mutated(_safetensors(), NOISE + HEADER),
    ),
    'dumped scores': (load_scores, DataError, ['.pkl'], mutated([_dump()], NOISE + OPCODES)),
}


@pytest.mark.parametrize('name', READERS)
@fuzz
@given(data=st.data())
def test_readers(name, data, folder):
    read, errors, suffixes, contents = READERS[name]
    path = str(written(folder, data.draw(contents), data.draw(st.sampled_from(suffixes))))
    try:
        read(path)
    except errors as error:
        assert str(error)


@fuzz
@given(
    method=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
    renamed=st.sampled_from(['archive/', 'a/', '', '../', 'archive/archive/']),
    dropped=st.sets(st.integers(0, 8), max_size=3),
    doubled=st.sets(st.integers(0, 8), max_size=2),
    sizes=st.dictionaries(st.integers(0, 8), st.integers(0, 2**40), max_size=2),
    offset=st.integers(-200, 200),
)
def test_odd_zips(folder, method, renamed, dropped, doubled, sizes, offset):
    """Whole zips whose entries or directory differ from what torch.save writes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(_saved())) as source:
        entries = [(name, source.read(name)) for name in source.namelist()]
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, 'w', method) as archive:
        warnings.simplefilter('ignore')  # of duplicate names
        for index, (name, data) in enumerate(entries):
            for _ in range((index not in dropped) + (index in doubled)):
                archive.writestr(name.replace('archive/', renamed), data)
        for index, size in sizes.items():
            if index < len(archive.filelist):
                entry = archive.filelist[index]
                entry.file_size = size
                entry.header_offset = max(0, entry.header_offset + offset)
    try:
        load_checkpoint_file(written(folder, buffer.getvalue(), '.pth'))
    except CheckpointError as error:
        assert str(error)


def _official_state():
    with DefaultScope.overwrite_default_scope('mmaction'), torch.device('meta'):
        model = MODELS.build(model_config('lite', 18, 8, 5))
    state = {official_name(name): value for name, value in model.state_dict().items()}
    state['PA.shallow_conv.bias'] = torch.empty(8, device='meta')
    return {f'module.{name}': value for name, value in state.items()}


STATE = _official_state()
KEYS = st.one_of(st.sampled_from(sorted(STATE)), st.text(string.printable, max_size=30))
TENSORS = st.lists(st.integers(0, 5), max_size=5).map(lambda s: torch.empty(s, device='meta'))
VALUES = st.one_of(TENSORS, st.none(), st.integers(), st.text(max_size=5))


@fuzz
@given(
    dropped=st.sets(KEYS, max_size=3),
    added=st.dictionaries(KEYS, VALUES, max_size=3),
    renamed=st.sampled_from(['module.', '', 'model.']),
    label_order=st.sampled_from([None, 'sthv1', 'other', list('abcde'), list('aabcd')]),
)
def test_official_state_dicts(dropped, added, renamed, label_order):
    state = {key: value for key, value in STATE.items() if key not in dropped}
    state = {key.replace('module.', renamed): value for key, value in {**state, **added}.items()}
    try:
        read_architecture(state)
        converted = convert_official_state_dict(state, label_order)
    except CheckpointError:
        return
    except ValueError:
        assert label_order is not None
        return
    assert converted['cls_head.fc_cls.weight'].shape[1] == 512


# Numbers ---------------------------------------------------------------------------------------


@fuzz
@given(
    clip_len=st.integers(-1, 20),
    num_clips=st.integers(-1, 20),
    twice_sample=st.booleans(),
    test_mode=st.booleans(),
    total_frames=st.one_of(st.integers(-1, 300), st.integers(0, 2**31 - 50)),
    start_index=st.sampled_from([0, 1, 5]),
)
def test_sampling(clip_len, num_clips, twice_sample, test_mode, total_frames, start_index):
    try:
        sample = PANSampleFrames(clip_len, num_clips, twice_sample, test_mode)
        results = sample.transform(dict(total_frames=total_frames, start_index=start_index))
    except ValueError:
        assert min(clip_len, num_clips, total_frames) < 1 or (twice_sample and not test_mode)
        return
    indices = results['frame_inds']
    assert indices.shape == (num_clips * clip_len * (1 + twice_sample),)
    assert indices.min() >= start_index and indices.max() < start_index + total_frames
    steps = np.diff(indices.reshape(-1, clip_len), axis=1)
    assert ((steps == 1) | ((steps == 0) & (indices.max() == start_index + total_frames - 1))).all()


DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.uint8, torch.int64)


@fuzz
@given(
    shape=st.lists(st.integers(0, 6), min_size=0, max_size=6),
    channels=st.integers(1, 4),
    kernel=st.integers(1, 5),
    dtype=st.sampled_from(DTYPES),
    scale=st.sampled_from([0.0, 1.0, 1e-30, 1e4, 1e18]),
    with_std=st.booleans(),
)
def test_motion_maps(shape, channels, kernel, dtype, scale, with_std):
    frames = (torch.rand(shape, dtype=torch.float64) * scale).clamp(max=6e4).to(dtype)
    weight = torch.rand(2, channels, kernel, kernel)
    std = [58.0] * channels if with_std else None
    try:
        maps = persistence_of_appearance(frames, weight, std=std)
    except ValueError:
        return
    assert maps.shape == (shape[0], shape[1] - 1, *shape[3:])
    assert maps.isfinite().all() and (maps >= 0).all()


@fuzz
@given(
    num_segments=st.integers(-1, 17),
    batch=st.integers(0, 3),
    channels=st.integers(1, 8),
    segments=st.integers(0, 17),
    scale=st.sampled_from([0.0, 1.0, 1e30]),
)
def test_head(num_segments, batch, channels, segments, scale):
    try:
        vap = VAPHead(num_classes=3, in_channels=channels, num_segments=num_segments)
    except ValueError:
        assert num_segments < 2 or num_segments & (num_segments - 1)
        return
    features = scale * torch.rand(batch * segments, channels, 2, 2)
    try:
        logits = vap(features, segments)
    except ValueError:
        assert features.shape[0] % num_segments or not len(features)
        return
    assert logits.shape == (len(features) // num_segments, 3) and logits.isfinite().all()


# Videos ----------------------------------------------------------------------------------------

FORMATS = (
    *(('mp4', 'mpeg4'), ('matroska', 'mpeg4'), ('avi', 'mjpeg'), ('mpegts', 'mpeg2video')),
    *(('mpeg', 'mpeg1video'), ('mpeg1video', 'mpeg1video'), ('flv', 'flv'), ('asf', 'mpeg4')),
)


def _video(form, codec):
    """A small video in one of the containers that FFmpeg writes here."""
    buffer = io.BytesIO()
    with av.open(buffer, 'w', format=form) as file:
        stream = file.add_stream(codec, rate=25)
        stream.width, stream.height = 64, 48
        stream.pix_fmt = 'yuvj420p' if codec == 'mjpeg' else 'yuv420p'
        for value in range(6):
            picture = np.full((48, 64, 3), 40 * value, np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        file.mux(stream.encode())
    return buffer.getvalue()


VIDEOS = [_video(*names) for names in FORMATS]
LISTENER = socket.create_server(('127.0.0.1', 0))  # nothing may connect
LISTENER.setblocking(False)
ADDRESS = f'http://127.0.0.1:{LISTENER.getsockname()[1]}/a.ts'.encode()
PLAYLISTS = [
    b'#EXTM3U\n#EXTINF:1,\n%s\n#EXT-X-ENDLIST\n' % ADDRESS,
    b'ffconcat version 1.0\nfile %s\n' % ADDRESS,
    b'v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 26\n',
    b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period><BaseURL>%s'
    b'</BaseURL></Period></MPD>' % ADDRESS,
    b'[Reference]\nRef1=%s\n' % ADDRESS,
]
MARKS = [mark for marks, _ in CONTAINERS.values() for _, mark in marks]
MAGIC = [*MARKS, *(content[:size] for content in VIDEOS for size in (12, 64, 600))]
SUFFIXES = st.sampled_from(('', '.m3u8', '.sdp', '.ffconcat', *VIDEO_SUFFIXES))


def read_video(folder, content, suffix):
    """Two frames of a file; None if it is refused with its name."""
    path = str(written(folder, content, suffix))
    try:
        init = VideoInit('pyav', max_bytes=2**20, max_pixels=1000 * 256 * 256)
        results = init.transform(dict(filename=path))
        results['frame_inds'] = np.array([0, results['total_frames'] - 1])
        images = VideoDecode().transform(results)['imgs']
    except VideoError as error:
        assert path in str(error)
        return None
    finally:
        with pytest.raises(BlockingIOError):  # no address in the file was asked
            LISTENER.accept()
    assert all(image.ndim == 3 and image.dtype == np.uint8 for image in images)
    return images


@fuzz
@given(content=mutated(VIDEOS, NOISE + MAGIC), suffix=SUFFIXES)
def test_videos(folder, content, suffix):
    read_video(folder, content, suffix)


@fuzz
@given(
    head=st.sampled_from([b'', *MAGIC]), content=mutated(PLAYLISTS, NOISE + MARKS), suffix=SUFFIXES
)
def test_playlists(folder, head, content, suffix):
    images = read_video(folder, head + content, suffix)
    assert images is None or len(head) > 16  # this is the start of a video


@fuzz
@given(
    video=mutated(VIDEOS),
    other=st.one_of(st.sampled_from(VIDEOS), mutated(PLAYLISTS)),
    place=st.floats(0, 1),
    suffix=SUFFIXES,
)
def test_nested_containers(folder, video, other, place, suffix):
    at = int(place * len(video))
    read_video(folder, video[:at] + other + video[at:], suffix)
