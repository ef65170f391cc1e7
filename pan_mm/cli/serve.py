"""``python -m pan_mm serve``: a web page and an HTTP API for a recognizer."""

import os
import sys
from contextlib import redirect_stdout

from pan_mm.apis import PANInferencer
from pan_mm.deploy.server.limits import Limits, read_token

from .options import add_model, add_reject, add_running, inferencer_settings

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
    add_running(parser)
    add_reject(parser)
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


def run(args):
    if os.name != 'posix':
        raise ValueError('serve decodes videos in forked processes; use Linux or macOS')
    for name, least in dict(stride=1, max_mib=1e-3, max_seconds=0.1, timeout=1, waiting=0).items():
        if getattr(args, name) < least:
            raise ValueError(f'--{name.replace("_", "-")} must be at least {least:g}')
    limits = Limits(
        max_bytes=round(args.max_mib * 2**20),
        max_seconds=args.max_seconds,
        timeout=args.timeout,
        waiting=args.waiting,
    )
    token = read_token(args.token_file)
    with redirect_stdout(sys.stderr):  # MMEngine logs there
        settings = inferencer_settings(args)

        from pan_mm.deploy.server.app import create_app
        from pan_mm.deploy.server.decoding import preload
        from pan_mm.deploy.server.server import own_names, run_server

        preload()  # while the model is loaded
        inferencer = PANInferencer(**settings)
        hosts = [*own_names(args.host), *args.host_name]
        app = create_app(inferencer, limits, hosts, token, args.stride)
    run_server(app, args.host, args.port)
