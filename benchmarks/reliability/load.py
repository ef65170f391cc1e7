#!/usr/bin/env python3
"""Press a server with more clients than it has places, in rounds, and record whether it held.

    python -m benchmarks.reliability.load --video CLIP.mp4

In each round 200 clients send 1,200 requests: good videos, truncated ones, text, and bodies over
the limit. 36 % of the clients leave before their answer, half of them in the middle of their
upload.

Exit status 1: a request had no proper answer, memory or descriptors grew by more than a tenth from
round to round, or a file was left. Linux only.
"""

import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.reliability.motionshapes import RESULTS
from benchmarks.timing import MemoryLog, environment, new_parser, write_report

HEADERS = {'Content-Type': 'multipart/form-data; boundary=edge'}
HEAD = b'--edge\r\nContent-Disposition: form-data; name="video"; filename="a.mp4"\r\n\r\n'
KINDS = ('good', 'cut', 'good', 'text', 'large')
# A truncated video may still hold frames, so that any answer to it is valid.
PROPER = dict(good=(200,), cut=(200, 422), text=(422,), large=(413,))
LEAVING = 9, 25  # requests of the second number
SECONDS = 120  # that a client waits


def visit(address, bodies, number):
    """Send a request; returns its kind, and the status or the way it ended."""
    kind = KINDS[number % len(KINDS)]
    leaves = number * LEAVING[0] % LEAVING[1] < LEAVING[0]
    connection = http.client.HTTPConnection(*address, timeout=SECONDS)
    try:
        if leaves:
            length = len(bodies[kind])
            sent = bodies[kind][: length // 2] if number % 2 else bodies[kind]
            connection.request(
                'POST', '/api/predict', sent, {**HEADERS, 'Content-Length': str(length)}
            )
            return kind, 'left'
        connection.request('POST', '/api/predict', bodies[kind], HEADERS)
        answer = connection.getresponse()
        answer.read()
        return kind, answer.status
    except (OSError, http.client.HTTPException) as error:
        return kind, 'left' if leaves else type(error).__name__
    finally:
        connection.close()


def start(folder, model):
    """Start a server; returns its process and address once it answers."""
    command = [sys.executable, '-m', 'pan_mm', 'serve', '--port', '0', '--max-mib', '1', *model]
    log = Path(folder, 'log')
    with log.open('w') as file:
        server = subprocess.Popen(
            command, env=dict(os.environ, TMPDIR=folder), stdout=file, stderr=file
        )
    end = time.monotonic() + SECONDS
    while not (found := [line for line in log.read_text().splitlines() if '://' in line]):
        if server.poll() is not None or time.monotonic() > end:
            server.kill()
            sys.exit(f'error: the server did not start\n{log.read_text()}')
        time.sleep(0.1)
    return server, (urlsplit(found[-1]).hostname, urlsplit(found[-1]).port)


def wait_until_idle(address):
    """Wait until the requests of those who left have ended."""
    end, idle = time.monotonic() + SECONDS, 'pan_mm_videos 0.0'
    while time.monotonic() < end:
        with closing(http.client.HTTPConnection(*address, timeout=SECONDS)) as connection:
            connection.request('GET', '/metrics')
            if idle in connection.getresponse().read().decode().splitlines():
                return
        time.sleep(0.2)
    sys.exit('error: requests of clients who left are still under way')


def count_descriptors(pid):
    """Count open files: the fewest within a second, as connections end after their clients."""
    counts = []
    for _ in range(5):
        time.sleep(0.2)
        counts.append(len(os.listdir(f'/proc/{pid}/fd')))
    return min(counts)


def run(args, folder):
    """Press a server in rounds; returns the record."""
    good = args.video.read_bytes()
    contents = dict(good=good, cut=good[: len(good) // 2], text=b'no video' * 100)
    bodies = {kind: HEAD + content + b'\r\n--edge--\r\n' for kind, content in contents.items()}
    bodies['large'] = HEAD + bytes(2**20)
    model = ['--config', args.config, '--checkpoint', args.checkpoint] if args.config else []
    server, address = start(folder, model)
    answers, descriptors = Counter(), []
    try:
        for number in range(len(KINDS)):  # warm up
            visit(address, bodies, number)
        memory, began = MemoryLog(server.pid), time.monotonic()
        for _ in range(args.rounds):
            with ThreadPoolExecutor(args.clients) as clients:
                answers.update(clients.map(partial(visit, address, bodies), range(args.requests)))
            wait_until_idle(address)
            memory.look()
            descriptors.append(count_descriptors(server.pid))
        minutes = (time.monotonic() - began) / 60
    finally:
        server.terminate()
        server.wait(SECONDS)
    # PyTorch makes a folder for compiled kernels (empty here) and never removes it.
    left = {path.name for path in Path(folder).iterdir() if 'torchinductor' not in path.name}
    return dict(
        environment=environment('cpu'),
        clients=args.clients,
        requests=args.requests,
        rounds=args.rounds,
        minutes=round(minutes, 1),
        left_early=sum(count for (_, status), count in answers.items() if status == 'left'),
        answers=dict(sorted((f'{kind}: {status}', n) for (kind, status), n in answers.items())),
        faults=sum(
            count
            for (kind, status), count in answers.items()
            if status not in ('left', 503, *PROPER[kind])
        ),
        memory_mib=[round(mib) for mib in memory.mib[1:]],
        descriptors=descriptors,
        left_behind=sorted(left - {'log'}),
    )


def is_flat(values):
    """Tell whether values differ by no more than a tenth."""
    return max(values) <= 1.1 * min(values)


def main():
    parser = new_parser(__doc__, device=False)
    parser.add_argument('--video', required=True, type=Path, help='a good one, below 1 MiB')
    parser.add_argument('--config', help='by default the trained model of pan_mm')
    parser.add_argument('--checkpoint')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--requests', type=int, default=1200, help='in a round')
    parser.add_argument('--clients', type=int, default=200, help='at once')
    parser.add_argument('--out', type=Path, default=RESULTS)
    args = parser.parse_args()
    if args.video.stat().st_size > 2**20 - 1000:
        sys.exit(f'error: {args.video} is larger than 1 MiB, the limit of this test')
    with tempfile.TemporaryDirectory() as folder:
        result = run(args, folder)
    print(json.dumps(result, indent=2))
    write_report(args.out, result, 'serve')
    grew = not (is_flat(result['memory_mib']) and is_flat(result['descriptors']))
    sys.exit(bool(result['faults'] or grew or result['left_behind']))


if __name__ == '__main__':
    main()
