"""Tiny models, configs and clips that tests build."""

import re
import socket
import threading
import time
from contextlib import contextmanager
from fractions import Fraction
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import av
import numpy as np
import torch
from mmaction.registry import MODELS
from mmengine.config import Config

import pan_mm  # noqa: F401  registers the parts
from pan_mm.datasets import VideoDecode, VideoInit
from pan_mm.inference.recognizer import load_recognizer
from pan_mm.models import PANBackbone
from pan_mm.utils.safetensors import save_safetensors

ROOT = Path(__file__).resolve().parents[1]
NUM_CLASSES = 19
CLIP = 'labelled/utd_mhad_a1_s3_t3_color.avi'  # 38 frames, 15 fps

CONFIG = """
_base_ = ['{root}/configs/_base_/models/pan_r18.py', '{root}/configs/_base_/default_runtime.py']
model = dict(
    backbone=dict(stream='{stream}', num_segments=4),
    cls_head=dict(num_classes={num_classes}, num_segments=4),
)
test_pipeline = [
    dict(type='VideoInit'),
    dict(type='PANSampleFrames', clip_len=4, num_clips=4, test_mode=True),
    dict(type='VideoDecode'),
    dict(type='Resize', scale=(-1, 72)),
    dict(type='CenterCrop', crop_size=64),
    dict(type='FormatShape', input_format='NCHW'),
    dict(type='PackActionInputs'),
]
"""


# For ``more`` of :func:`write_config`: a network with temporal shift of a third of a megabyte.
SMALL = """
model['backbone']['backbone'] = dict(_delete_=True, type='timm.test_resnet')
model['cls_head']['in_channels'] = 96
model['data_preprocessor'] = dict(type='PANDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3)
"""


def first_stages(count):
    """For ``more`` of :func:`write_config`: a small network, for what is exported or compiled."""
    stages = dict(num_stages=count, strides=(1, 2)[:count], dilations=(1, 1)[:count])
    stages.update(out_indices=(count - 1,))
    return f"""
model['backbone']['backbone'] = dict(_delete_=True, type='ResNet', depth=18, **{stages})
model['cls_head']['in_channels'] = {64 * count}
"""


def free_port():
    """A port of this machine that nothing listens at, as text."""
    with socket.create_server(('127.0.0.1', 0)) as free:
        return str(free.getsockname()[1])


def code_blocks(languages, *patterns):
    """(place, language, code) of the fenced blocks of the project's documents."""
    for path in (path for pattern in patterns for path in sorted(ROOT.glob(pattern))):
        text = path.read_text(encoding='utf-8')
        for match in re.finditer(r'^```(\w+)\n(.*?)^```$', text, re.MULTILINE | re.DOTALL):
            if match[1] in languages:
                line = text.count('\n', 0, match.start()) + 1
                yield f'{path.relative_to(ROOT)}:{line}', match[1], match[2]


def wait(condition, seconds=300):
    """Wait until a condition is true, and give its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, 'it took too long'
        time.sleep(0.02)
    return value


class QuietHandler(SimpleHTTPRequestHandler):
    """Gives files, and logs nothing."""

    def log_message(self, *args):
        """Log nothing."""


@contextmanager
def served(handler):
    """A server with this handler, in a thread of its own; its address is ``url``."""
    with ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        server.url = f'http://127.0.0.1:{server.server_port}'
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


FORM = {'Content-Type': 'multipart/form-data; boundary=edge'}


def form(content):
    """Body of an upload of a video, with the header ``FORM``."""
    head = '--edge\r\nContent-Disposition: form-data; name="video"; filename="a.mp4"\r\n\r\n'
    return head.encode() + content + b'\r\n--edge--\r\n'


def ask(url, body=None, method=None, **headers):
    """Status and text of a server's answer."""
    try:
        with urlopen(Request(url, body, headers, method=method), timeout=250) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def write_config(folder, stream='lite', num_classes=NUM_CLASSES, more=''):
    """Write a config of a PAN on a ResNet-18, 64 pixels, 4 segments; returns its path."""
    path = folder / f'pan_{stream}_r18.py'
    text = CONFIG.format(root=ROOT.as_posix(), stream=stream, num_classes=num_classes)
    path.write_text(text + more)
    return path


# Files that lead elsewhere. {other} is a local video, {net} an address that nobody may ask.
HLS = '#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:1.0,\n{other}\n#EXTINF:1.0,\n{net}/a.ts\n#EXT-X-ENDLIST\n'
SDP = 'v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 26\n'
DASH = (
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT1S" profiles="urn:mpeg:dash:profile:isoff-live:2011"><Period>'
    '<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>{net}/'
    '</BaseURL><SegmentList><SegmentURL media="a.mp4"/></SegmentList></Representation>'
    '</AdaptationSet></Period></MPD>'
)
PLAYLISTS = dict(
    hls=HLS,
    hls_with_avi='#EXTM3U\nAVI \n' + HLS.partition('\n')[2],
    ffconcat='ffconcat version 1.0\nfile {other}\n',
    sdp=SDP,
    dash=DASH,
)


def write_video(
    path, pictures, codec='mpeg4', form=None, pix_fmt='yuv420p', times=None, title=None, **options
):
    """Write RGB pictures, uint8, shape (H, W, 3), or PyAV's frames; returns the path.

    ``path`` may be a file that is open; ``form`` is FFmpeg's name of its container. There are 25 a
    second; ``times`` are others, in such intervals.
    """
    target = path if hasattr(path, 'write') else str(path)
    with av.open(target, 'w', format=form) as file:
        if title is not None:
            file.metadata['title'] = title
        stream = file.add_stream(codec, rate=25, options=options)
        stream.pix_fmt = pix_fmt
        for number, frame in enumerate(pictures):
            if not isinstance(frame, av.VideoFrame):
                frame = av.VideoFrame.from_ndarray(frame)
            if number == 0:
                stream.width, stream.height = frame.width, frame.height
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 25)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def decode(path, indices=(0,), **options):
    """Decode frames of a video, or all for None, with ``VideoInit`` of these options."""
    results = VideoInit(**options).transform(dict(filename=str(path), modality='RGB'))
    if indices is None:
        indices = range(results['total_frames'])
    return VideoDecode().transform(dict(results, frame_inds=np.array(indices)))


def with_flipped_bit(content, rng, within=None):
    """``content`` with one bit the other way round, within the bytes (start, stop)."""
    start, stop = within or (0, len(content))
    bit = rng.randrange(8 * start, 8 * stop)
    flipped = bytearray(content)
    flipped[bit // 8] ^= 1 << bit % 8
    return flipped


def write_checkpoint(folder, config, **meta):
    """Save random weights that tell videos apart, for a config; returns the file's path."""
    torch.manual_seed(0)
    model = load_recognizer(config, device='cpu')
    for name, weight in model.named_parameters():
        if 'cls_head' in name or 'persistence' in name:
            torch.nn.init.normal_(weight, std=0.3)
    path = folder / 'pan.pth'
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    return path


TRAINED_CONFIG = 'pan-lite_imagenet-pretrained-efficientnet-lite0_1xb16-4x1x8-15e_custom-rgb'


def write_trained_model(folder, name='pan-test', config=TRAINED_CONFIG, classes=('left', 'right')):
    """Save random weights as a model that comes with the package; returns the file's path."""
    torch.manual_seed(0)
    model = load_recognizer(config, device='cpu')
    torch.nn.init.normal_(model.cls_head.fc_cls.weight, std=0.01)
    path = folder / f'{name}.safetensors'
    statistics = [127.5] * 3
    save_safetensors(
        path,
        model.state_dict(),
        torch.float16,
        config=config,
        classes=[*classes],
        mean=statistics,
        std=statistics,
    )
    return path


@MODELS.register_module()
class OneConv(torch.nn.Sequential):
    """A backbone of a third of a megabyte."""

    def __init__(self):
        super().__init__(
            torch.nn.Conv2d(3, 512, 7, stride=8), torch.nn.BatchNorm2d(512), torch.nn.ReLU()
        )


SAMPLE = dict(type='PANSampleFrames', clip_len=1, num_clips=4)
PIPELINE = [
    dict(type='VideoInit'),
    SAMPLE,
    dict(type='VideoDecode'),
    dict(type='Resize', scale=(32, 32), keep_ratio=False),
    dict(type='FormatShape', input_format='NCHW'),
    dict(type='PackActionInputs', meta_keys=('filename',)),
]


def tiny_config(folder, root, names, **changes):
    """Config of two epochs over the videos ``names`` of the folder ``root``.

    ``first`` stands before its pipeline, ``pack`` at its end; ``also`` names further splits, of
    the same videos.
    """
    first, also = changes.pop('first', []), changes.pop('also', ())
    pack = changes.pop('pack', PIPELINE[-1])
    (folder / 'list.txt').write_text(''.join(f'{name} {i % 2}\n' for i, name in enumerate(names)))

    def loader(test_mode):
        return dict(
            batch_size=2,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=not test_mode),
            dataset=dict(
                type='VideoDataset',
                ann_file=str(folder / 'list.txt'),
                data_prefix=dict(video=str(root)),
                pipeline=first
                + [dict(t, test_mode=test_mode) if t is SAMPLE else t for t in PIPELINE[:-1]]
                + [pack],
                test_mode=test_mode,
            ),
        )

    cfg = Config(
        dict(
            model=dict(
                type='Recognizer2D',
                backbone=dict(type='OneConv'),
                cls_head=dict(
                    type='VAPHead',
                    num_classes=2,
                    in_channels=512,
                    num_segments=4,
                    average_clips='prob',
                ),
                data_preprocessor=dict(
                    type='ActionDataPreprocessor',
                    mean=[123.675, 116.28, 103.53],
                    std=[58.395, 57.12, 57.375],
                ),
            ),
            work_dir=str(folder / 'work'),
            experiment_name=str(folder).replace('/', '_'),
            default_scope='mmaction',
            runner_type='Runner',
            train_dataloader=loader(False),
            train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=2),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9)),
            default_hooks=dict(
                checkpoint=dict(type='SafeCheckpointHook', interval=-1, save_last=False),
                logger=dict(type='LoggerHook', interval=1),
            ),
            randomness=dict(seed=0),
        )
    )
    for split in also:
        cfg[f'{split}_dataloader'] = loader(True)
        cfg[f'{split}_cfg'] = dict(type=f'{split.title()}Loop')
        cfg[f'{split}_evaluator'] = dict(type='AccMetric')
    cfg.merge_from_dict(changes)
    return cfg


def stands_where_pa_stands(motion_cue, maps):
    """Hold a motion cue of so many maps for a pair of frames against its place in PAN_Lite."""
    network = dict(type='mmaction.ResNetTSM', depth=18)
    options = dict(stream='lite', motion_cue=motion_cue, num_segments=2, clip_len=3)
    backbone = PANBackbone(dict(network), **options).eval()
    stem = backbone.backbone.get_submodule(backbone.stem_name)
    assert stem.in_channels == 2 * maps + 3
    assert backbone(torch.randn(2 * 3, 3, 32, 32)).shape == (2, 512, 1, 1)
    PANBackbone(dict(network), **options).load_state_dict(backbone.state_dict())


def shrink_network(cfg):
    """Give a config the smallest network of its kind, without weights, in place."""
    inner = cfg.model.backbone.get('backbone', cfg.model.backbone)
    if 'pretrained' in inner:
        inner.pretrained = None
    if inner.type in ('ResNet', 'ResNetTSM', 'ResNet3dSlowOnly'):
        inner.depth, cfg.model.cls_head.in_channels = 18, 512


def shrink(node):
    """Make frames a quarter as high and wide in a config's pipelines, in place."""
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in list(items):
        if key in ('scale', 'input_size', 'crop_size'):
            whole = isinstance(value, int)
            node[key] = value // 4 if whole else tuple(v // 4 if v > 0 else v for v in value)
        elif isinstance(value, (dict, list)):
            shrink(value)


def list_loaders(path, *loaders):
    """Text of dataloaders of a config that test the videos of a list."""
    return f"""
_dataset = dict(
    type='VideoDataset',
    ann_file=r'{path}',
    data_prefix=dict(video=''),
    pipeline=test_pipeline,
    test_mode=True,
)
{' = '.join(loaders)} = dict(dataset=_dataset)
del _dataset
"""
