"""What is fuzzed: everything that reads files or takes numbers from outside.

Each target is a function under ``hypothesis.given``: it passes if the code under test returns
something sound or raises the error that it documents, and fails on any other exception. Texts and
files are mutated from real ones, so that they get past the first check.
"""

import asyncio
import collections
import functools
import io
import json
import logging
import os
import pickle
import socket
import string
import tempfile
import threading
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from mmaction.datasets import VideoDataset
from mmengine.logging import HistoryBuffer
from safetensors.torch import save_file

from pan_mm.convert import convert_official_state_dict, read_architecture
from pan_mm.convert.official import model_config, official_name
from pan_mm.datasets import PANSampleFrames, VideoDecode, VideoInit, check_annotations
from pan_mm.datasets.checks.annotations import read_lines
from pan_mm.datasets.container import (
    CONTAINERS,
    VIDEO_SUFFIXES,
    Limits,
    count_frames,
    open_video,
)
from pan_mm.datasets.file_lists import read_label_map, read_official_labels
from pan_mm.inference.exported_program import check_program
from pan_mm.inference.predictions import ShardedResults
from pan_mm.inference.score_fusion import load_scores
from pan_mm.inference.videos import find_videos
from pan_mm.models import VAPHead
from pan_mm.ops import persistence_of_appearance
from pan_mm.utils.checkpoint import load_checkpoint_file
from pan_mm.utils.errors import CheckpointError, DataError, VideoError
from pan_mm.utils.safetensors import save_safetensors

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / 'shared' / 'data'
FOLDER = Path(tempfile.mkdtemp(prefix='fuzz'))

SUFFIXES = ('', '.m3u8', '.sdp', '.ffconcat', *VIDEO_SUFFIXES)

TARGETS = {}


def target(share, **strategies):
    """Register a target that gets ``share`` of the inputs of a run."""

    def register(function):
        TARGETS[function.__name__] = share, given(**strategies)(function)
        return function

    return register


def written(content, suffix):
    path = FOLDER / f'input-{os.getpid()}{suffix}'
    path.write_bytes(content)
    return path


# Inputs ---------------------------------------------------------------------------------------


def _real(*patterns):
    """Contents of the project's files, and of real data beside it where there are any."""
    files = [path for pattern in patterns for path in sorted(ROOT.glob(pattern))]
    files += [path for pattern in patterns for path in sorted(SHARED.glob(f'**/{pattern}'))]
    return [path.read_bytes()[:2000] for path in files[:20]]


LISTS = [
    b'a.mp4 0\nb/c.mp4 12\n',
    b'folder 12 3\nother 7 1\n',
    b'folder 5 12 3\n',
    b'a.mp4,0\n',
    b'a.mp4 0 3 5\n',
    *_real('annotations/*.txt'),
]
LABEL_MAPS = [b'clap\nwave\n', *_real('tools/data/*/label_map.txt', 'label_map.txt')]
OFFICIAL = [
    b'12;Opening something\n7;Holding something\n',
    json.dumps([dict(id='1', template='Holding [something]', label='Holding a pen')]).encode(),
]
RESULTS = [
    json.dumps(dict(video='a.mp4', model='m', top=[dict(label=1, name='x', score=0.5)])).encode()
    + b'\n',
    json.dumps(dict(video='b.mp4', model='m', error='no video')).encode() + b'\n',
]
_NOISE = [b'\n', b'\r', b' ', b'\t', b'\0', b'..', b'/', b';', b',', b'-1', b'1e9', b'\xff', b'"']
_NOISE += [b'\x0b', b'\x1c', '\u2028'.encode(), '\u0665'.encode(), b'{', b'[', b'1_0', b'9' * 30]


@st.composite
def mutated(draw, corpus, noise=_NOISE):
    """One of ``corpus`` with pieces taken out, doubled or replaced."""
    content = draw(st.sampled_from(corpus))
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 16)))
        piece = draw(
            st.one_of(
                st.sampled_from(noise),
                st.binary(max_size=8),
                st.just(content[start:end] * 2),
                st.just(b''),
            )
        )
        content = content[:start] + piece + content[end:]
    return content


# Texts ----------------------------------------------------------------------------------------


@target(
    30,
    content=mutated(LISTS),
    rawframes=st.booleans(),
    with_offset=st.booleans(),
    multi_class=st.booleans(),
    delimiter=st.sampled_from([None, ',', '\t']),
    num_classes=st.sampled_from([None, 1, 10, 400]),
    prefix=st.sampled_from(['', str(FOLDER), 's3://bucket']),
)
def annotation_lists(content, rawframes, with_offset, prefix, **options):
    path = written(content, '.txt')
    problems = check_annotations(
        str(path), prefix, rawframes=rawframes, with_offset=with_offset, **options
    )
    assert all(isinstance(problem, str) and str(path) in problem for problem in problems)
    form = [problem for problem in problems if ': no such ' not in problem]
    if not form and not rawframes and not options['multi_class']:
        # MMAction2 reads the same lines from whatever passes as sound.
        dataset = VideoDataset(
            str(path), [], dict(video=''), delimiter=options['delimiter'] or ' ', lazy_init=True
        )
        labels = [info['label'] for info in dataset.load_data_list()]
        assert len(labels) == len(read_lines(str(path)))
        if options['num_classes'] is not None:
            assert all(-1 <= label < options['num_classes'] for label in labels)


@target(8, content=mutated(LABEL_MAPS))
def label_maps(content):
    try:
        names = read_label_map(str(written(content, '.txt')))
    except DataError:
        return
    assert len(set(names)) == len(names)


@target(8, content=mutated(OFFICIAL), suffix=st.sampled_from(['.json', '.csv']))
def official_labels(content, suffix):
    try:
        labels = read_official_labels(str(written(content, suffix)))
    except DataError:
        return
    assert all(isinstance(text, str) for pair in labels.items() for text in pair)


@target(8, content=mutated(RESULTS))
def earlier_results(content):
    try:
        ShardedResults(written(content, '.jsonl'), 'm')
    except ValueError:
        return


@target(6, content=mutated([b'clips/*.mp4\na.mp4\n', *LISTS]))
def video_lists(content):
    try:
        videos = find_videos([f'@{written(content, ".txt")}'])
    except (ValueError, OSError):
        return
    assert len(set(videos)) == len(videos)


# Numbers --------------------------------------------------------------------------------------


@target(
    20,
    clip_len=st.integers(-1, 20),
    num_clips=st.integers(-1, 20),
    twice_sample=st.booleans(),
    test_mode=st.booleans(),
    total_frames=st.one_of(st.integers(-1, 300), st.integers(0, 2**31 - 50)),
    start_index=st.sampled_from([0, 1, 5]),
)
def sampling(clip_len, num_clips, twice_sample, test_mode, total_frames, start_index):
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


@target(
    5,
    shape=st.lists(st.integers(0, 6), min_size=0, max_size=6),
    channels=st.integers(1, 4),
    kernel=st.integers(1, 5),
    dtype=st.sampled_from(
        [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.uint8, torch.int64]
    ),
    scale=st.sampled_from([0.0, 1.0, 1e-30, 1e4, 1e18]),
    with_std=st.booleans(),
)
def motion_maps(shape, channels, kernel, dtype, scale, with_std):
    frames = (torch.rand(shape, dtype=torch.float64) * scale).clamp(max=6e4).to(dtype)
    weight = torch.rand(2, channels, kernel, kernel)
    std = [58.0] * channels if with_std else None
    try:
        maps = persistence_of_appearance(frames, weight, std=std)
    except ValueError:
        return
    assert maps.shape == (shape[0], shape[1] - 1, *shape[3:])
    assert maps.isfinite().all() and (maps >= 0).all()


@target(
    3,
    num_segments=st.integers(-1, 17),
    batch=st.integers(0, 3),
    channels=st.integers(1, 8),
    segments=st.integers(0, 17),
    scale=st.sampled_from([0.0, 1.0, 1e30]),
)
def head(num_segments, batch, channels, segments, scale):
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


# Files ----------------------------------------------------------------------------------------


def _official_state():
    from mmaction.registry import MODELS
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope('mmaction'), torch.device('meta'):
        model = MODELS.build(model_config('lite', 18, 8, 5))
    state = {official_name(name): value for name, value in model.state_dict().items()}
    state['PA.shallow_conv.bias'] = torch.empty(8, device='meta')
    return {f'module.{name}': value for name, value in state.items()}


STATE = _official_state()
_KEYS = st.one_of(st.sampled_from(sorted(STATE)), st.text(string.printable, max_size=30))
_VALUES = st.one_of(
    st.lists(st.integers(0, 5), max_size=5).map(lambda shape: torch.empty(shape, device='meta')),
    st.none(),
    st.integers(),
    st.text(max_size=5),
)


@target(
    2,
    dropped=st.sets(_KEYS, max_size=3),
    added=st.dictionaries(_KEYS, _VALUES, max_size=3),
    renamed=st.sampled_from(['module.', '', 'model.']),
    label_order=st.sampled_from([None, 'sthv1', 'other', list('abcde'), list('aabcd')]),
)
def official_state_dicts(dropped, added, renamed, label_order):
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


def _saved(legacy):
    buffer = io.BytesIO()
    value = dict(
        state_dict=collections.OrderedDict(weight=torch.ones(3, 2)),
        meta=dict(epoch=1, seed=np.int64(3), classes=('a', 'b')),
        message_hub=dict(loss=HistoryBuffer([1.0], [1])),
    )
    torch.save(value, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


_OPCODES = [bytes([code]) for code in b'cR.(}]tbiosNK\x80\x85\x93h0']
_GLOBALS = [b'cos\nsystem\n', b'cbuiltins\neval\n', b'ctorch\nload\n', b'cnumpy\nload\n']


@target(6, content=mutated([_saved(False), _saved(True)], _NOISE + _OPCODES + _GLOBALS))
def checkpoints(content):
    try:
        load_checkpoint_file(written(content, '.pth'))
    except CheckpointError:
        return


@target(6, content=mutated([_saved(False), _saved(True)]), cut=st.integers(0, 20_000))
def truncated_checkpoints(content, cut):
    try:
        load_checkpoint_file(written(content[: -cut or None], '.pth'))
    except CheckpointError:
        return


@target(
    6,
    method=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
    renamed=st.sampled_from(['archive/', 'a/', '', '../', 'archive/archive/']),
    dropped=st.sets(st.integers(0, 8), max_size=3),
    doubled=st.sets(st.integers(0, 8), max_size=2),
    sizes=st.dictionaries(st.integers(0, 8), st.integers(0, 2**40), max_size=2),
    offset=st.integers(-200, 200),
)
def odd_zips(method, renamed, dropped, doubled, sizes, offset):
    """Whole zips whose entries or directory are not what torch.save writes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(_saved(False))) as source:
        entries = [(name, source.read(name)) for name in source.namelist()]
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, 'w', method) as archive:
        warnings.simplefilter('ignore')  # of duplicate names
        for index, (name, data) in enumerate(entries):
            for _ in range((index not in dropped) + (index in doubled)):
                archive.writestr(name.replace('archive/', renamed), data)
        for index, size in sizes.items():
            if index < len(archive.filelist):
                archive.filelist[index].file_size = size
                entry = archive.filelist[index]
                entry.header_offset = max(0, entry.header_offset + offset)
    try:
        load_checkpoint_file(written(buffer.getvalue(), '.pth'))
    except CheckpointError:
        return


_WEIGHTS = dict(weight=torch.ones(3, 2), steps=torch.tensor(3), half=torch.ones(3).half())
_HEADER = [b'F32', b'I8', b'BF16', b'[3,2]', b'[0,24]', b'99999999999', b'__metadata__', b'{}']


def _safetensors():
    save_safetensors(path := written(b'', '.safetensors'), _WEIGHTS, config='a = 1', mean=[1.0])
    ours = path.read_bytes()
    save_file(_WEIGHTS, path)
    return [ours, path.read_bytes()]


@target(6, content=mutated(_safetensors(), _NOISE + _HEADER), cut=st.integers(0, 300))
def safetensors(content, cut):
    try:
        load_checkpoint_file(written(content[: -cut or None], '.safetensors'))
    except CheckpointError:
        return


def _program():
    """The directory and the graph of a file of ``torch.export``; nothing of it is computed."""
    size = dict(as_expr=dict(expr_str="Mul(Integer(4), Symbol('s1', integer=True))"))
    node = dict(target='torch.ops.aten.relu.default', inputs=[], outputs=[], metadata={})
    graph = dict(nodes=[node], tensor_values=dict(x=dict(sizes=[size])))
    program = dict(graph_module=dict(graph=graph), guards_code=[], range_constraints=dict(s1={}))
    return json.dumps(program).encode()


_CODE = [b'"__import__(1)"', b'"torch.os.system"', b'["exec"]', b'"as_graph":', b'Pow', b'**', b'.']


@target(4, graph=mutated([_program()], _NOISE + _CODE), entry=st.sampled_from(['', 'data/a.so']))
def exported_programs(graph, entry):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
        archive.writestr('a/models/model.json', graph)
        archive.writestr('a/data/sample_inputs/model.pt', _saved(False))
        if entry:
            archive.writestr(f'a/{entry}', b'')
    try:
        check_program(buffer.getvalue(), 'a.pt2')
    except CheckpointError:
        return
    assert not entry


def _dump():
    samples = [
        dict(pred_score=torch.tensor([0.2, 0.8]), gt_label=torch.tensor([i]), filename=f'{i}.mp4')
        for i in range(2)
    ]
    return pickle.dumps(samples, protocol=2)


def _videos():
    """Small videos, one of each container that FFmpeg writes here."""
    contents = []
    for form, codec in (
        *(('mp4', 'mpeg4'), ('matroska', 'mpeg4'), ('avi', 'mjpeg'), ('mpegts', 'mpeg2video')),
        *(('mpeg', 'mpeg1video'), ('mpeg1video', 'mpeg1video'), ('flv', 'flv'), ('asf', 'mpeg4')),
    ):
        path = FOLDER / f'video.{form}'
        with av.open(str(path), 'w', format=form) as file:
            stream = file.add_stream(codec, rate=25)
            stream.width, stream.height = 64, 48
            stream.pix_fmt = 'yuvj420p' if codec == 'mjpeg' else 'yuv420p'
            for value in range(6):
                picture = np.full((48, 64, 3), 40 * value, np.uint8)
                file.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
            file.mux(stream.encode())
        contents.append(path.read_bytes())
    return contents


VIDEOS = _videos()
LISTENER = socket.create_server(('127.0.0.1', 0))  # nobody may connect
LISTENER.setblocking(False)
_ADDRESS = f'http://127.0.0.1:{LISTENER.getsockname()[1]}/a.ts'.encode()
_LOCAL = str(FOLDER / 'video.mpegts').encode()
PLAYLISTS = [
    b'#EXTM3U\n#EXTINF:1,\n%s\n#EXTINF:1,\n%s\n#EXT-X-ENDLIST\n' % (_LOCAL, _ADDRESS),
    b'ffconcat version 1.0\nfile %s\nfile %s\n' % (_LOCAL, _ADDRESS),
    b'v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 26\n',
    b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period><BaseURL>%s'
    b'</BaseURL></Period></MPD>' % _ADDRESS,
    b'[Reference]\nRef1=%s\n' % _ADDRESS,
]
_MARKS = [mark for marks, _ in CONTAINERS.values() for _, mark in marks]
_MAGIC = [*_MARKS, *(content[:size] for content in VIDEOS for size in (12, 64, 600))]


def _read_video(content, suffix):
    """What is read of it; None where the door or the decoder refuses it, saying why."""
    path = str(written(content, suffix))
    limits = Limits(max_bytes=2**20, max_pixels=1000 * 256 * 256)
    try:
        with open_video(path, limits) as video:
            count = count_frames(video)
            with video.path():
                pass
        init = VideoInit('pyav', max_bytes=limits.max_bytes, max_pixels=limits.max_pixels)
        results = init.transform(dict(filename=path))
        results['frame_inds'] = np.array([0, results['total_frames'] - 1])
        images = VideoDecode().transform(results)['imgs']
    except VideoError as error:
        assert path in str(error)
        return None
    finally:
        try:
            LISTENER.accept()
        except BlockingIOError:
            pass
        else:
            raise AssertionError('an address in the file was asked')
    assert count >= 1 and all(image.ndim == 3 and image.dtype == np.uint8 for image in images)
    return images


@target(8, content=mutated(VIDEOS, _NOISE + _MAGIC), suffix=st.sampled_from(SUFFIXES))
def video_files(content, suffix):
    _read_video(content, suffix)


@target(
    8,
    head=st.sampled_from([b'', *_MAGIC]),
    content=mutated(PLAYLISTS, _NOISE + _MARKS),  # too short for the start of a video
    suffix=st.sampled_from(SUFFIXES),
)
def playlists(head, content, suffix):
    images = _read_video(head + content, suffix)
    assert images is None or len(head) > 16  # this is the start of a video


@target(
    4,
    video=mutated(VIDEOS),
    other=st.one_of(st.sampled_from(VIDEOS), mutated(PLAYLISTS)),
    place=st.floats(0, 1),
    suffix=st.sampled_from(SUFFIXES),
)
def nested_containers(video, other, place, suffix):
    at = int(place * len(video))
    _read_video(video[:at] + other + video[at:], suffix)


@target(4, content=mutated([_dump()], _NOISE + _OPCODES + _GLOBALS))
def score_dumps(content):
    assume(len(content) < 10_000)
    try:
        load_scores(written(content, '.pkl'))
    except DataError:
        return


# Requests -------------------------------------------------------------------------------------

FORM = (
    b'--edge\r\nContent-Disposition: form-data; name="video"; filename="a.mp4"\r\n\r\n'
    b'\0\0\0\x20ftypisom no more\r\n--edge--\r\n'
)


def _request(line, body=b'', *headers):
    head = [line, b'Host: localhost', b'Content-Length: %d' % len(body), *headers]
    return b'\r\n'.join([*head, b'', body])


_MULTIPART = b'Content-Type: multipart/form-data; boundary=edge'
REQUESTS = [
    _request(b'GET / HTTP/1.1'),
    _request(b'GET /page.js HTTP/1.1', b'', b'Range: bytes=0-9,5-', b'If-None-Match: "a"'),
    _request(b'HEAD /api/info HTTP/1.1') + _request(b'GET /healthz HTTP/1.1'),
    _request(b'POST /api/predict?timeline=true&pictures=1 HTTP/1.1', FORM, _MULTIPART),
    b'POST /api/predict HTTP/1.1\r\nHost: localhost\r\n%s\r\nTransfer-Encoding: chunked\r\n\r\n'
    b'%x\r\n%s\r\n0\r\n\r\n' % (_MULTIPART, len(FORM), FORM),
    _request(
        b'POST /api/cameras/name HTTP/1.1', b'\xff\xd8\xff\xe0 no more', b'Expect: 100-continue'
    ),
    _request(b'DELETE /api/cameras/%2e%2e%2fname HTTP/1.0'),
    _request(b'GET /metrics HTTP/1.1', b'', b'Upgrade: websocket', b'Connection: upgrade'),
]
_HEADERS = [b'\r\n', b'\n', b':', b'\r\n\r\n', b'Content-Length: 5\r\n', b'Host: evil.example\r\n']
_HEADERS += [
    b'Transfer-Encoding: chunked\r\n',
    b'--edge',
    b'../',
    b'%00',
    b'%',
    b'HTTP/9.9',
    b'?',
    b'*',
]
STATUSES = (200, 201, 204, 206, 304, 400, 403, 404, 405, 408, 410, 413, 415, 416, 422, 429, 503)


@functools.cache
def _server():
    """Address of the real server with a small model, and what it logs."""
    import uvicorn

    from pan_mm.deploy.server import doorkeeper, protocol
    from pan_mm.deploy.server.analysis import VideoAnalyzer
    from pan_mm.deploy.server.http import Access, create_app
    from pan_mm.deploy.server.limits import Limits
    from pan_mm.inference.inferencer import PANInferencer

    protocol.HEADER_SECONDS = doorkeeper.LINGER = 0.05
    name = 'pan-lite_r18_1xb16-4x1x8-4e_motionshapes-rgb.py'
    inferencer = PANInferencer(ROOT / 'configs' / 'recognition' / 'pan' / name, device='cpu')
    limits = Limits(max_bytes=2**16, timeout=0.3)
    app = create_app(VideoAnalyzer(inferencer, limits), FOLDER, 'fuzz', Access(['localhost']))
    config = uvicorn.Config(
        app,
        http=protocol.bounded(1000, None, 0.3),
        ws='none',
        log_config=None,
        limit_concurrency=900,
    )
    problems = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: problems.append(handler.format(record))
    logging.getLogger('uvicorn').addHandler(handler)
    listener = socket.create_server(('127.0.0.1', 0))
    run = uvicorn.Server(config).serve([listener])
    threading.Thread(target=asyncio.run, args=(run,), daemon=True).start()
    return listener.getsockname(), problems


@target(4, content=mutated(REQUESTS, _NOISE + _HEADERS))
def http_requests(content):
    address, problems = _server()
    answer = b''
    with socket.create_connection(address, 20) as connection, suppress(ConnectionError):
        connection.sendall(content)
        while b'\r\n\r\n' not in answer and (part := connection.recv(2**16)):
            answer += part
    assert not problems, problems
    if answer:  # otherwise it was cut off as the client's error
        version, status, *_ = answer.split()
        assert version == b'HTTP/1.1' and int(status) in STATUSES + (100,), answer
