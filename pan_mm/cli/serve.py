"""``python -m pan_mm serve``: a web page and an HTTP API for a recognizer."""

import sys
from contextlib import redirect_stdout
from pathlib import Path

from mmengine.config import DictAction

from pan_mm.apis import PANInferencer
from pan_mm.inference.optimization import PANError
from pan_mm.inference.recognizer import load_config
from pan_mm.serving.limits import Limits
from pan_mm.utils.errors import CheckpointError

from .options import add_allow_native_code, add_optimize

PYTHON = (3, 10)  # Gradio 6 needs it


def add_arguments(parser):
    limits = Limits()
    parser.epilog = (
        'The page is at /, the API at /api/predict: curl -F video=@clip.mp4 '
        'http://127.0.0.1:7860/api/predict. Nothing is asked of other servers. Exit status: 1 if '
        'it cannot start.'
    )
    parser.add_argument('--config', required=True, help='config of the recognizer')
    parser.add_argument(
        '--checkpoint', required=True, help='its weights (file or URL), or an exported model'
    )
    parser.add_argument('--device', help='cpu, cuda, cuda:1, ...; by default the accelerator')
    parser.add_argument('--label-map', metavar='FILE', help='class names, one a line')
    add_optimize(parser)
    add_allow_native_code(parser)
    parser.add_argument('--host', default='127.0.0.1', help='0.0.0.0 lets other machines in')
    parser.add_argument('--port', type=int, default=7860, help='0 takes a free one')
    parser.add_argument(
        '--stride', type=int, default=8, help='frames between segments, of a timeline or a camera'
    )
    parser.add_argument(
        '--max-mib', type=float, default=limits.max_bytes / 2**20, help='of a request'
    )
    parser.add_argument('--max-seconds', type=float, default=limits.max_seconds, help='of a video')
    parser.add_argument(
        '--timeout', type=float, default=limits.timeout, help='seconds to serve a request'
    )
    parser.add_argument(
        '--waiting', type=int, default=limits.waiting, help='requests that wait, others get 503'
    )
    parser.add_argument(
        '--cameras', type=int, default=limits.cameras, help='followed at once while they film'
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, default={}, help='KEY=VALUE in the config'
    )


def run(args):
    if sys.version_info < PYTHON:
        raise ValueError(
            f'the page needs Python {PYTHON[0]}.{PYTHON[1]} or later, for Gradio does; this is '
            f'{sys.version.split()[0]}. predict, stream and export work here'
        )
    for name in ('stride', 'max_mib', 'max_seconds', 'timeout'):
        if getattr(args, name) <= 0:
            raise ValueError(f'--{name.replace("_", "-")} must be positive')
    for name in ('waiting', 'cameras'):
        if getattr(args, name) < 0:
            raise ValueError(f'--{name} must not be negative')
    if not 0 <= args.port < 2**16:
        raise ValueError(f'--port must lie between 0 and {2**16 - 1}')
    limits = Limits(
        max_bytes=round(args.max_mib * 2**20),
        max_seconds=args.max_seconds,
        timeout=args.timeout,
        waiting=args.waiting,
        cameras=args.cameras,
    )
    config = load_config(args.config, args.cfg_options)
    try:
        from pan_mm.serving.analysis import VideoAnalyzer
        from pan_mm.serving.server import run_server

        with redirect_stdout(sys.stderr):  # where MMEngine shall log
            inferencer = PANInferencer(
                config,
                args.checkpoint,
                device=args.device,
                label_map=args.label_map,
                optimize=args.optimize,
                allow_native_code=args.allow_native_code,
            )
            analyzer = VideoAnalyzer(inferencer, limits, args.stride)
        run_server(analyzer, Path(config.filename or 'PAN').stem, args.host, args.port)
    except (CheckpointError, PANError, ImportError) as problem:
        print(f'error: {problem}', file=sys.stderr)
        if isinstance(problem, ImportError):
            print("install what serving needs: pip install 'pan_mm[demo]'", file=sys.stderr)
        return 1
    return 0
