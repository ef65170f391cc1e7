#!/usr/bin/env python3
"""Press a server hard, and write down whether it held.

    python -m benchmarks.reliability.load --config CONFIG --checkpoint CHECKPOINT --video A.mp4 \\
        --minutes 2 --out results/reliability/serve.json

Starts ``python -m pan_mm serve`` and keeps ``--parallel`` requests on their way for the time given:
good videos, some of them followed by the stream engine too, text that calls itself a video, a video
that is cut off, and bodies over the limit. It counts the answers, watches the server's memory, and
looks for what is left when it has ended. Exit status 1: a request had no proper answer, a good
video no result, or something was left. Linux only.
"""

import argparse
import collections
import datetime
import http.client
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from pathlib import Path

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
    parser.add_argument('--out', required=True, type=Path, help='JSON file')
    return parser.parse_args()


def post(address, content, timeline=False):
    """Status and JSON of an upload."""
    edge = 'edge-of-a-part'
    body = (
        f'--{edge}\r\nContent-Disposition: form-data; name="video"; filename="a.mp4"\r\n'
        'Content-Type: video/mp4\r\n\r\n'
    ).encode()
    body += content + f'\r\n--{edge}--\r\n'.encode()
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=120)
    try:
        headers = {'Content-Type': f'multipart/form-data; boundary={edge}'}
        path = f'/api/predict?timeline={str(timeline).lower()}'
        connection.request('POST', path, body, headers)
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
            status, answer = post(address, bodies[kind], timeline=kind == 'stream')
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
            time.sleep(0.1)  # a client that is told to come again does not do so at once


def run(args, folder):
    command = [sys.executable, '-m', 'pan_mm', 'serve', '--port', '0', '--max-mib', '1']
    command += ['--stride', '3']  # so that a clip of a second and a half makes a timeline
    command += ['--config', args.config, '--checkpoint', args.checkpoint]
    env = dict(os.environ, TMPDIR=folder)
    server = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
    try:
        address = urllib.parse.urlsplit(server.stdout.readline().strip())
        if not address.port:
            sys.exit('error: the server did not start')
        good = args.video.read_bytes()
        bodies = dict(good=good, stream=good, text=b'no video' * 100, cut=good[: len(good) // 2])
        bodies['large'] = bytes(2**20)
        _, answer = post(address, good, timeline=True)  # warm up
        if 'timeline' not in answer:
            sys.exit(f'error: {args.video} is too short for a timeline, or no video: {answer}')
        # A container that is cut off may still show frames; then any answer is proper.
        PROPER['cut'] = (post(address, bodies['cut'])[0], 503)
        memory = MemoryLog(server.pid)
        counts, faults, seconds = collections.Counter(), [], []
        end = time.monotonic() + 60 * args.minutes
        shared = (address, bodies)
        threads = [
            threading.Thread(target=press, args=(*shared, i, end, counts, faults, seconds))
            for i in range(args.parallel)
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            memory.look()
            time.sleep(0.5)
        status, _ = post(address, good)
        if status != 200:
            faults.append(f'after the load a good video got {status}')
    finally:
        server.terminate()
        server.wait(60)
    # PyTorch makes a folder for compiled kernels, empty here, and keeps it.
    left = [path.name for path in Path(folder).iterdir() if 'torchinductor' not in path.name]
    seconds.sort()
    return dict(
        command='benchmarks/reliability/load.py',
        date=datetime.date.today().isoformat(),
        environment=dict(
            cores=os.cpu_count(), python=platform.python_version(), system=platform.platform()
        ),
        config=Path(args.config).stem,
        minutes=args.minutes,
        parallel=args.parallel,
        answers={f'{kind}: {status}': n for (kind, status), n in sorted(counts.items(), key=str)},
        faults=len(faults),
        first_faults=faults[:5],
        seconds=dict(
            median=round(seconds[len(seconds) // 2], 3) if seconds else None,
            worst=round(seconds[-1], 3) if seconds else None,
        ),
        memory=memory.report(),
        left_behind=left,
    )


def main():
    args = parse_args()
    if args.video.stat().st_size > 2**20 - 1000:
        sys.exit(f'error: {args.video} is larger than 1 MiB, the limit of this test')
    with tempfile.TemporaryDirectory() as folder:
        result = run(args, folder)
    text = json.dumps(result, indent=2) + '\n'
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(text)
    print(text, end='')
    served = any(key.startswith('good: 200') for key in result['answers'])
    sys.exit(bool(result['faults'] or result['left_behind'] or not served))


if __name__ == '__main__':
    main()
