"""``python -m pan_mm serve``: a web page and an HTTP API for a recognizer."""

import os
import sys
from contextlib import redirect_stdout
from pathlib import Path

from pan_mm.apis import PANInferencer
from pan_mm.deploy.server.limits import Limits
from pan_mm.deploy.server.token import read_token
from pan_mm.inference.zoo import find_model

from .options import add_cfg_options, add_model, add_optimize, chosen_model

EXTRA = 'demo'


def add_arguments(parser):
    limits = Limits()
    parser.epilog = """\
The page is at /, the API at /api/predict:
  curl -F video=@clip.mp4 http://127.0.0.1:7860/api/predict
Nothing is requested from other servers. Exit status: 1 if it cannot start.

example:
  python -m pan_mm serve --port 8000 --max-seconds 60"""
    add_model(parser, 'file or URL, or an exported model')
    parser.add_argument('--device', help='cpu, cuda, cuda:1, ...; by default the accelerator')
    parser.add_argument('--label-map', metavar='FILE', help='class names, one per line')
    parser.add_argument(
        '--no-reject', action='store_true', help='do not say where the model is unsure'
    )
    add_optimize(parser)
    parser.add_argument('--host', default='127.0.0.1', help='0.0.0.0 admits other machines')
    parser.add_argument('--port', type=int, default=7860, help='0 chooses a free port')
    parser.add_argument(
        '--host-name',
        nargs='+',
        default=[],
        metavar='NAME',
        help='names by which browsers may address the server, besides localhost and --host',
    )
    parser.add_argument(
        '--token-file', metavar='FILE', help='file with the token that clients of the API must send'
    )
    parser.add_argument(
        '--stride', type=int, default=8, help='frames between segments of a live camera'
    )
    parser.add_argument(
        '--max-mib', type=float, default=limits.max_bytes / 2**20, help='size limit of a request'
    )
    parser.add_argument(
        '--max-seconds', type=float, default=limits.max_seconds, help='length limit of a video'
    )
    parser.add_argument(
        '--timeout', type=float, default=limits.timeout, help='seconds that a request may take'
    )
    parser.add_argument(
        '--waiting', type=int, default=limits.waiting, help='videos that may wait; others get 503'
    )
    parser.add_argument(
        '--cameras', type=int, default=limits.cameras, help='live cameras at a time'
    )
    add_cfg_options(parser)


def run(args):
    if os.name != 'posix':
        raise ValueError('serve decodes videos in forked processes; use Linux or macOS')
    for name in ('stride', 'max_mib', 'max_seconds', 'timeout'):
        if getattr(args, name) <= 0:
            raise ValueError(f'--{name.replace("_", "-")} must be positive')
    for name in ('waiting', 'cameras'):
        if getattr(args, name) < 0:
            raise ValueError(f'--{name} must not be negative')
    if not 0 <= args.port < 2**16:
        raise ValueError(f'--port must be between 0 and {2**16 - 1}')
    limits = Limits(
        max_bytes=round(args.max_mib * 2**20),
        max_seconds=args.max_seconds,
        timeout=args.timeout,
        waiting=args.waiting,
        cameras=args.cameras,
    )
    token = read_token(args.token_file)
    with redirect_stdout(sys.stderr):  # MMEngine logs there
        config, checkpoint = chosen_model(args)

        from pan_mm.deploy.server.app import create_app
        from pan_mm.deploy.server.decoding import preload
        from pan_mm.deploy.server.server import own_names, run_server

        preload()  # while the model is loaded
        inferencer = PANInferencer(
            config,
            checkpoint,
            device=args.device,
            label_map=args.label_map,
            optimize=args.optimize,
            reject=not args.no_reject,
        )
        title = Path(args.config).stem if args.config else args.model or find_model().name
        hosts = [*own_names(args.host), *args.host_name]
        app = create_app(inferencer, limits, hosts, token, title, args.stride)
    run_server(app, args.host, args.port)
