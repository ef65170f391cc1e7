#!/usr/bin/env python3
"""Press a server hard, and write down whether it held.

    python -m benchmarks.reliability.load --config CONFIG --checkpoint CHECKPOINT --video A.mp4 \\
        --minutes 2

Starts ``python -m pan_mm serve`` and keeps ``--parallel`` requests on their way for the time given:
good videos, some of them followed by the stream engine too, text that calls itself a video, a video
that is cut off, and bodies over the limit. It counts the answers, watches the server's memory, and
looks for what is left when it has ended.

Then a server with a place for each of ``--parallel`` good clients gets only good videos: for half
the time only theirs, then with ``--slow`` clients that send headers or bodies byte by byte, or do
not read their answers. No good client may be refused.

Every client has an address of loopback of its own. Exit status 1: a request had no proper answer, a
good video no result, an honest client was refused, or something was left. Linux only.
"""

import argparse
import collections
import contextlib
import datetime
import http.client
import json
import os
import platform
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from pathlib import Path

from benchmarks.timing import write_section

ROOT = Path(__file__).resolve().parents[2]
PROPER = dict(good=(200, 503), stream=(200, 503), text=(422, 503), cut=(422, 503), large=(413, 503))


class MemoryLog:
    """Resident memory of a process in the course of time, in MiB. Linux only."""

    def __init__(self, pid='self'):
        self.status = Path(f'/proc/{pid}/status')
        self.began = time.monotonic()
        self.seconds, self.mib = [], []
        self.look()

    def look(self):
        lines = self.status.read_text().splitlines()
        resident = next(line for line in lines if line.startswith('VmRSS'))
        self.mib.append(int(resident.split()[1]) / 1024)
        self.seconds.append(time.monotonic() - self.began)

    def report(self, points=100):
        """Highest values, and a curve of the highest of each of ``points`` spans."""
        half, step = len(self.mib) // 2, -(-len(self.mib) // points)
        spans = range(0, len(self.mib), step)
        return dict(
            before=round(self.mib[0]),
            highest_of_first_half=round(max(self.mib[: half + 1])),
            highest_of_second_half=round(max(self.mib[half:])),
            seconds=[round(self.seconds[start]) for start in spans],
            mib=[round(max(self.mib[start : start + step])) for start in spans],
        )


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--config', required=True)
    parser.add_argument('--checkpoint', required=True)
    parser.add_argument('--video', required=True, type=Path, help='a good video, below 1 MiB')
    parser.add_argument('--minutes', type=float, default=5)
    parser.add_argument('--parallel', type=int, default=50, help='requests at once')
    parser.add_argument('--slow', type=int, default=40, help='slow clients beside honest ones')
    parser.add_argument('--out', type=Path, default=ROOT / 'results' / 'reliability.json')
    return parser.parse_args()


KIND = 'multipart/form-data; boundary=edge-of-a-part'


def form(content):
    """Body of an upload."""
    head = (
        '--edge-of-a-part\r\nContent-Disposition: form-data; name="video"; filename="a.mp4"\r\n'
        'Content-Type: video/mp4\r\n\r\n'
    )
    return head.encode() + content + b'\r\n--edge-of-a-part--\r\n'


def post(address, content, timeline=False, number=0):
    """Status and JSON of an upload by client ``number``."""
    connection = http.client.HTTPConnection(
        address.hostname, address.port, timeout=300, source_address=(f'127.0.2.{number + 1}', 0)
    )
    try:
        path = f'/api/predict?timeline={str(timeline).lower()}'
        connection.request('POST', path, form(content), {'Content-Type': KIND})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def press(address, bodies, number, end, counts, faults, seconds):
    """Send one request after the other until ``end``."""
    kinds = ['good'] * 5 + ['stream'] * 2 + ['text', 'cut', 'large']
    turn = number
    while time.monotonic() < end:
        kind = kinds[turn % len(kinds)]
        turn += 1
        began = time.monotonic()
        try:
            status, answer = post(address, bodies[kind], kind == 'stream', number)
        except (OSError, ValueError, http.client.HTTPException) as error:
            counts[kind, 'no answer'] += 1
            faults.append(f'{kind}: {type(error).__name__}: {error}')
            continue
        counts[kind, status] += 1
        given = 'timeline' if kind == 'stream' else 'top'
        wanted = given if status == 200 else 'error'
        if status not in PROPER[kind] or wanted not in answer:
            faults.append(f'{kind}: {status} {answer}')
        if status == 200:
            seconds.append(time.monotonic() - began)
        elif status == 503:
            time.sleep(0.1)  # a client told to retry waits before it does


def be_honest(address, content, number, end, answers, seconds):
    """Send one good video after the other until ``end``."""
    while time.monotonic() < end:
        began = time.monotonic()
        try:
            status, _ = post(address, content, number=number)
        except (OSError, ValueError, http.client.HTTPException) as error:
            status = type(error).__name__
        answers[status] += 1
        seconds.append(time.monotonic() - began)


def be_slow(address, content, number, end, answers):
    """Hold one connection after the other as long as the server lets it, until ``end``."""
    kind = ('headers', 'body', 'answer')[number % 3]
    body = form(content)
    head = b'POST /api/predict?pictures=true HTTP/1.1\r\nHost: localhost\r\n'
    rest = f'Content-Type: {KIND}\r\nContent-Length: {len(body)}\r\n\r\n'.encode()
    sent = dict(
        headers=head, body=head + rest, answer=b'GET /api/info HTTP/1.1\r\nHost: localhost'
    )[kind]
    trickle = dict(headers=b'a: b\r\n' * 999, body=body, answer=b'')[kind]
    while time.monotonic() < end:
        status = 'closed'
        with (
            contextlib.suppress(OSError),
            socket.create_connection(
                (address.hostname, address.port), 30, (f'127.0.3.{number + 1}', 0)
            ) as connection,
        ):
            connection.sendall(sent + (b'\r\n\r\n' if kind == 'answer' else b''))
            for place in range(10**6):
                ready = kind != 'answer' and select.select([connection], [], [], 0.5)[0]
                if ready:
                    status = (connection.recv(100).split() or [b'', b'closed'])[1].decode()
                if ready or time.monotonic() > end:
                    break
                if kind == 'answer':
                    time.sleep(0.5)
                    connection.sendall(sent + b'\r\n\r\n')  # and reads none
                else:
                    connection.sendall(trickle[place : place + 1])
            else:
                status = 'held'
        answers[f'{kind}: {"held to the end" if time.monotonic() > end else status}'] += 1


@contextlib.contextmanager
def served(args, folder, *options):
    """A server's process and its address."""
    command = [sys.executable, '-m', 'pan_mm', 'serve', '--port', '0', '--max-mib', '1']
    command += ['--config', args.config, '--checkpoint', args.checkpoint, *options]
    env = dict(os.environ, TMPDIR=folder)
    server = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
    try:
        address = urllib.parse.urlsplit(server.stdout.readline().strip())
        if not address.port:
            sys.exit('error: the server did not start')
        yield server, address
    finally:
        server.terminate()
        server.wait(60)


def in_threads(function, calls, meanwhile=lambda: None):
    """Call a function at once with each of ``calls``, and another one until all have ended."""
    threads = [threading.Thread(target=function, args=call) for call in calls]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        meanwhile()
        time.sleep(0.5)


def summary(seconds):
    """Median and the longest, rounded."""
    seconds = sorted(seconds)
    return dict(
        median=round(seconds[len(seconds) // 2], 3) if seconds else None,
        worst=round(seconds[-1], 3) if seconds else None,
    )


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
        # A truncated container may still hold frames; then any answer is valid.
        PROPER['cut'] = (post(address, bodies['cut'])[0], 503)
        memory = MemoryLog(server.pid)
        counts, faults, seconds = collections.Counter(), [], []
        end = time.monotonic() + 60 * args.minutes
        calls = [
            (address, bodies, number, end, counts, faults, seconds)
            for number in range(args.parallel)
        ]
        in_threads(press, calls, memory.look)
        status, _ = post(address, good)
        if status != 200:
            faults.append(f'after the load a good video got {status}')
    return dict(
        parallel=args.parallel,
        answers={f'{kind}: {status}': n for (kind, status), n in sorted(counts.items(), key=str)},
        faults=len(faults),
        first_faults=faults[:5],
        seconds=summary(seconds),
        memory=memory.report(),
    )


def run_beside_slow(args, folder):
    """Good clients by themselves, then with slow ones."""
    good = args.video.read_bytes()
    with served(args, folder, '--waiting', str(args.parallel - 1)) as (_, address):
        post(address, good)  # warm up
        result = {}
        for name, minutes, slow in (
            ('alone', args.minutes / 2, 0),
            ('beside', args.minutes, args.slow),
        ):
            answers, ends, seconds = collections.Counter(), collections.Counter(), []
            end = time.monotonic() + 60 * minutes
            held = [
                threading.Thread(target=be_slow, args=(address, good, number, end, ends))
                for number in range(slow)
            ]
            for thread in held:
                thread.start()
            calls = [
                (address, good, number, end, answers, seconds) for number in range(args.parallel)
            ]
            in_threads(be_honest, calls)
            for thread in held:
                thread.join()
            result[name] = dict(
                minutes=minutes,
                answers={str(status): count for status, count in answers.items()},
                per_minute=round(answers[200] / minutes),
                seconds=summary(seconds),
            )
            if slow:
                result[name]['slow_clients'] = dict(sorted(ends.items()))
    refused = sum(
        n for part in result.values() for name, n in part['answers'].items() if name != '200'
    )
    return dict(
        honest=args.parallel, slow=args.slow, places=args.parallel, refused=refused, **result
    )


def run(args, folder):
    found = run_mixed(args, folder)
    slow = run_beside_slow(args, folder)
    # PyTorch creates a folder for compiled kernels (empty here) and never removes it.
    left = [path.name for path in Path(folder).iterdir() if 'torchinductor' not in path.name]
    return dict(
        command='benchmarks/reliability/load.py',
        date=datetime.date.today().isoformat(),
        environment=dict(
            cores=os.cpu_count(),
            load_average=[round(load, 1) for load in os.getloadavg()],
            python=platform.python_version(),
            system=platform.platform(),
        ),
        config=Path(args.config).stem,
        minutes=args.minutes,
        **found,
        beside_slow_clients=slow,
        left_behind=left,
    )


def main():
    args = parse_args()
    if args.video.stat().st_size > 2**20 - 1000:
        sys.exit(f'error: {args.video} is larger than 1 MiB, the limit of this test')
    with tempfile.TemporaryDirectory() as folder:
        result = run(args, folder)
    text = json.dumps(result, indent=2) + '\n'
    write_section(args.out, 'serve', result)
    print(text, end='')
    good = any(key.startswith('good: 200') for key in result['answers'])
    refused = result['beside_slow_clients']['refused']
    sys.exit(bool(result['faults'] or refused or result['left_behind'] or not good))


if __name__ == '__main__':
    main()
