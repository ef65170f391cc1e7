#!/usr/bin/env python3
"""Press a server hard, and record whether it held.

    python -m benchmarks.reliability.load --config CONFIG --checkpoint CHECKPOINT --video A.mp4 \\
        --minutes 2

First a server gets ``--parallel`` requests at a time: good videos, some with a timeline, text that
claims to be a video, a truncated video, and bodies over the limit. Then a server with a place for
each of ``--parallel`` good clients gets only good videos: first without, then with ``--slow``
clients that send headers or bodies byte by byte. Every client has a loopback address of its own.

Exit status 1: a request had no proper answer, a good client was refused, or a file was left. Linux
only.
"""

import argparse
import contextlib
import datetime
import http.client
import json
import os
import platform
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from benchmarks.timing import MemoryLog, write_section

ROOT = Path(__file__).resolve().parents[2]
KIND = 'multipart/form-data; boundary=edge-of-a-part'
MIX = ['good'] * 5 + ['stream'] * 2 + ['text', 'cut', 'large']
# A truncated container may still hold frames, so that any answer to it is valid.
PROPER = dict(good=(200,), stream=(200,), text=(422,), cut=(200, 422), large=(413,))


def form(content: bytes) -> bytes:
    """Body of an upload."""
    head = (
        '--edge-of-a-part\r\nContent-Disposition: form-data; name="video"; filename="a.mp4"\r\n'
        'Content-Type: video/mp4\r\n\r\n'
    )
    return head.encode() + content + b'\r\n--edge-of-a-part--\r\n'


def post(address, content, timeline=False, number=0):
    """Status and JSON of an upload by client ``number``."""
    source = f'127.0.2.{number + 1}', 0
    connection = http.client.HTTPConnection(*address, timeout=300, source_address=source)
    with contextlib.closing(connection):
        path = f'/api/predict?timeline={str(timeline).lower()}'
        connection.request('POST', path, form(content), {'Content-Type': KIND})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def send_until(end, address, bodies, kinds, number):
    """Send one request after the other until ``end``; returns (kind, status, seconds) of each."""
    outcomes, turn = [], number
    while time.monotonic() < end:
        kind, began = kinds[turn % len(kinds)], time.monotonic()
        turn += 1
        try:
            status, answer = post(address, bodies[kind], kind == 'stream', number)
            wanted = 'error' if status != 200 else 'timeline' if kind == 'stream' else 'top'
            if wanted not in answer:
                status = f'{status} without {wanted}'
        except (OSError, ValueError, http.client.HTTPException) as error:
            status = type(error).__name__
        outcomes.append((kind, status, time.monotonic() - began))
        if status == 503:
            time.sleep(0.1)  # a client that is asked to retry waits first
    return outcomes


def be_slow(end, address, content, number):
    """Hold one connection after the other as long as the server lets it; counts how they end."""
    body, ends = form(content), Counter()
    head = b'POST /api/predict HTTP/1.1\r\nHost: localhost\r\n'
    rest = f'Content-Type: {KIND}\r\nContent-Length: {len(body)}\r\n\r\n'.encode()
    kind = ('headers', 'body')[number % 2]
    first, trickle = dict(headers=(head, b'a: b\r\n' * 999), body=(head + rest, body))[kind]
    while time.monotonic() < end:
        status = 'closed'
        with (
            contextlib.suppress(OSError),
            socket.create_connection(address, 30, (f'127.0.3.{number + 1}', 0)) as connection,
        ):
            connection.sendall(first)
            for byte in trickle:
                if select.select([connection], [], [], 0.5)[0]:
                    status = (connection.recv(100).split() or [b'', b'closed'])[1].decode()
                    break
                if time.monotonic() > end:
                    status = 'held to the end'
                    break
                connection.sendall(bytes([byte]))
        ends[f'{kind}: {status}'] += 1
    return ends


@contextlib.contextmanager
def served(args, folder, *options):
    """Start a server; yields its process and its address."""
    command = [sys.executable, '-m', 'pan_mm', 'serve', '--port', '0', '--max-mib', '1']
    command += ['--config', args.config, '--checkpoint', args.checkpoint, *options]
    env = dict(os.environ, TMPDIR=folder)
    server = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
    try:
        address = urllib.parse.urlsplit(server.stdout.readline().strip())
        if not address.port:
            sys.exit('error: the server did not start')
        yield server, (address.hostname, address.port)
    finally:
        server.terminate()
        server.wait(60)


def seconds_of(outcomes):
    """Median and longest time of the requests with a result."""
    seconds = [took for _, status, took in outcomes if status == 200]
    if not seconds:
        sys.exit(f'error: no request had a result: {Counter(kind for kind, *_ in outcomes)}')
    return dict(median=round(statistics.median(seconds), 3), worst=round(max(seconds), 3))


def run_mixed(args, folder):
    """Good, bad and too large requests."""
    # With stride 3 a clip of 1.5 seconds gives a timeline.
    with served(args, folder, '--stride', '3') as (server, address):
        good = args.video.read_bytes()
        bodies = dict(good=good, stream=good, text=b'no video' * 100, cut=good[: len(good) // 2])
        bodies['large'] = bytes(2**20)
        _, answer = post(address, good, timeline=True)  # warm up
        if 'timeline' not in answer:
            sys.exit(f'error: {args.video} is too short for a timeline, or no video: {answer}')
        memory, end = MemoryLog(server.pid), time.monotonic() + 60 * args.minutes
        with ThreadPoolExecutor(args.parallel) as pool:
            clients = [
                pool.submit(send_until, end, address, bodies, MIX, number)
                for number in range(args.parallel)
            ]
            while wait(clients, 0.5).not_done:
                memory.look()
        outcomes = [outcome for client in clients for outcome in client.result()]
        faults = [
            f'{kind}: {status}'
            for kind, status, _ in outcomes
            if status != 503 and status not in PROPER[kind]
        ]
        if post(address, good)[0] != 200:
            faults.append('after the load a good video got no result')
    answers = Counter(f'{kind}: {status}' for kind, status, _ in outcomes)
    return dict(
        parallel=args.parallel,
        answers=dict(sorted(answers.items())),
        faults=len(faults),
        first_faults=faults[:5],
        seconds=seconds_of(outcomes),
        memory=memory.report(),
    )


def run_good(args, address, minutes, slow):
    """Good clients for some minutes, beside a number of slow ones."""
    good, end = args.video.read_bytes(), time.monotonic() + 60 * minutes
    with ThreadPoolExecutor(args.parallel + slow) as pool:
        held = [pool.submit(be_slow, end, address, good, number) for number in range(slow)]
        clients = [
            pool.submit(send_until, end, address, dict(good=good), ['good'], number)
            for number in range(args.parallel)
        ]
    outcomes = [outcome for client in clients for outcome in client.result()]
    answers = Counter(str(status) for _, status, _ in outcomes)
    result = dict(
        minutes=minutes,
        answers=dict(answers),
        per_minute=round(answers['200'] / minutes),
        seconds=seconds_of(outcomes),
    )
    if slow:
        ends = sum((client.result() for client in held), Counter())
        result['slow_clients'] = dict(sorted(ends.items()))
    return result


def run(args, folder):
    result = run_mixed(args, folder)
    with served(args, folder, '--waiting', str(args.parallel - 1)) as (_, address):
        post(address, args.video.read_bytes())  # warm up
        alone = run_good(args, address, args.minutes / 2, 0)
        beside = run_good(args, address, args.minutes, args.slow)
    answers = Counter(alone['answers']) + Counter(beside['answers'])
    slow = dict(honest=args.parallel, slow=args.slow, refused=answers.total() - answers['200'])
    # PyTorch creates a folder for compiled kernels (empty here) and never removes it.
    left = [path.name for path in Path(folder).iterdir() if 'torchinductor' not in path.name]
    return dict(
        date=datetime.date.today().isoformat(),
        environment=dict(
            cores=os.cpu_count(),
            load_average=[round(load, 1) for load in os.getloadavg()],
            python=platform.python_version(),
            system=platform.platform(),
        ),
        config=Path(args.config).stem,
        minutes=args.minutes,
        **result,
        beside_slow_clients=dict(slow, alone=alone, beside=beside),
        left_behind=left,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--config', required=True)
    parser.add_argument('--checkpoint', required=True)
    parser.add_argument('--video', required=True, type=Path, help='a good video, below 1 MiB')
    parser.add_argument('--minutes', type=float, default=5)
    parser.add_argument('--parallel', type=int, default=50, help='requests at once')
    parser.add_argument('--slow', type=int, default=40, help='slow clients beside good ones')
    parser.add_argument('--out', type=Path, default=ROOT / 'results' / 'reliability.json')
    args = parser.parse_args()
    if args.video.stat().st_size > 2**20 - 1000:
        sys.exit(f'error: {args.video} is larger than 1 MiB, the limit of this test')
    with tempfile.TemporaryDirectory() as folder:
        result = run(args, folder)
    print(json.dumps(result, indent=2))
    write_section(args.out, 'serve', result)
    refused = result['beside_slow_clients']['refused']
    sys.exit(bool(result['faults'] or refused or result['left_behind']))


if __name__ == '__main__':
    main()
