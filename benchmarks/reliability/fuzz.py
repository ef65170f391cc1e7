#!/usr/bin/env python3
"""Feed many inputs to everything that reads files or takes numbers from outside.

    python -m benchmarks.reliability.fuzz --inputs 100000

Exits with 1 if an input led to another error than the documented ones; hypothesis prints the
smallest such input. 4000 inputs took a minute and a half on a busy machine.
"""

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')

from hypothesis import HealthCheck, settings  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402

import pan_mm  # noqa: E402, F401
from benchmarks.timing import write_section  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--inputs', type=int, default=100_000, help='in all (default: 100000)')
    parser.add_argument('--only', nargs='+', help='names of targets (default: all)')
    parser.add_argument('--out', type=Path, default=ROOT / 'results' / 'reliability.json')
    args = parser.parse_args()
    init_default_scope('mmaction')
    from .fuzz_targets import TARGETS

    chosen = {name: TARGETS[name] for name in args.only or TARGETS}
    shares = sum(share for share, _ in chosen.values())
    report, failed = {}, []
    for name, (share, function) in chosen.items():
        wanted, began = -(-args.inputs * share // shares), time.monotonic()
        counted = 0
        inner = function.hypothesis.inner_test

        def counting(*given, inner=inner, **kwargs):
            nonlocal counted
            counted += 1
            return inner(*given, **kwargs)

        function.hypothesis.inner_test = counting
        profile = settings(
            max_examples=wanted,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        try:
            profile(function)()
        except Exception as error:
            failed.append(name)
            print(f'{name}: {type(error).__name__}: {error}', file=sys.stderr)
            print(*getattr(error, '__notes__', ()), sep='\n', file=sys.stderr)
        report[name] = counted
        print(f'{name}: {counted} inputs in {time.monotonic() - began:.0f} s', flush=True)
    result = dict(
        inputs=sum(report.values()), targets=report, failed=failed, python=platform.python_version()
    )
    print(json.dumps(result, indent=2))
    write_section(args.out, 'fuzz', result)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
