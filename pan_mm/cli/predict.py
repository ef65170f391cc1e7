"""``python -m pan_mm predict``: name the actions in video files."""

import os
import sys
from contextlib import redirect_stdout
from pathlib import Path

from pan_mm.apis import PANInferencer
from pan_mm.inference.predictions import (
    FORMATS,
    append_results,
    fingerprint_of,
    read_done,
    write_results,
)
from pan_mm.inference.videos import find_videos, preload
from pan_mm.utils.errors import escape
from pan_mm.utils.files import ENCODING_ERRORS, atomic_write
from pan_mm.utils.terminal import track

from .interrupts import noted_interrupts
from .options import add_model, add_reject, add_running, inferencer_settings


def add_arguments(parser):
    parser.epilog = """\
Exit status: 0 if all videos were recognized, otherwise 1. The first interrupt
(Ctrl-C, SIGTERM) ends it after the current batch and keeps the results. With
--out NAME.jsonl, and with --ray, the same command continues.

example:
  python -m pan_mm predict my_videos --topk 3 --out actions.csv"""
    parser.add_argument(
        'videos',
        nargs='+',
        metavar='VIDEO',
        help='a file, a folder, a glob in quotes, or @FILE with one of these per line',
    )
    add_model(parser, 'file or URL, or an exported model')
    add_running(parser)
    parser.add_argument('--batch-size', type=int, default=8, help='videos in a batch')
    parser.add_argument(
        '--workers', type=int, default=1, help='processes that decode; 0: in this one'
    )
    parser.add_argument('--topk', type=int, default=5, help='classes to show')
    add_reject(parser)
    parser.add_argument(
        '--features',
        action='store_true',
        help="write the backbone's features, C numbers per video, instead of classes; to .jsonl "
        'or with --ray',
    )
    parser.add_argument(
        '--out', metavar='FILE', help='file of results; by default they are printed'
    )
    parser.add_argument(
        '--format',
        choices=(*FORMATS, 'parquet'),
        help='by default the suffix of --out, or table without --out; with --ray parquet or jsonl',
    )
    cluster = parser.add_argument_group('on a Ray cluster, with --out FOLDER or an address')
    cluster.add_argument(
        '--ray',
        nargs='?',
        const='',
        metavar='ADDRESS',
        help='auto or HOST:PORT of a cluster; without ADDRESS one is started on this machine',
    )
    cluster.add_argument('--num-gpus', type=float, default=0, help='GPUs of each model')
    cluster.add_argument(
        '--concurrency', type=int, help='most models at a time; by default all that fit'
    )


def run(args):
    stdout = sys.stdout
    stdout.reconfigure(errors=ENCODING_ERRORS)
    with redirect_stdout(sys.stderr):  # MMEngine logs there
        if args.ray is not None:
            return _run_on_ray(args)
        done, total = _recognize(args, stdout)
    if sum(done):
        print(f'{sum(done)} of {total} videos failed, see "error" in the results', file=sys.stderr)
    if len(done) < total:
        print(f'interrupted: {len(done)} of {total} videos are done', file=sys.stderr)
    return int(sum(done) > 0 or len(done) < total)


def _recognize(args, stdout):
    """Tell of each video that is done whether it failed, and how many there are."""
    form = args.format or (Path(args.out).suffix[1:] if args.out else 'table')
    if form not in FORMATS:
        raise ValueError(
            f'{args.out}: the name must end in .jsonl, .json or .csv, or give --format'
        )
    if args.features and form != 'jsonl':
        raise ValueError('features are written as JSON lines: give --out NAME.jsonl')
    videos = find_videos(args.videos)
    workers = args.workers if len(videos) > 1 else 0  # a process takes time to start
    if workers:
        preload()
    settings = inferencer_settings(args)
    inferencer = PANInferencer(**settings, num_workers=workers)
    print(known_classes(inferencer), file=sys.stderr)
    model, done = '', {}
    if form == 'jsonl' and args.out:
        model = fingerprint_of(inferencer, settings['checkpoint'], args.optimize, args.features)
        done = read_done(args.out, model)
    todo = [video for video in videos if video not in done]
    if len(todo) < len(videos):
        before = len(videos) - len(todo)
        print(f'resuming: {before} of {len(videos)} videos are done', file=sys.stderr)
    with noted_interrupts() as interrupted:
        found = _until(interrupted, inferencer.iterate(todo, args.features), done)
        _write(args.out, stdout, form, model, found, todo)
    return [done[video] for video in videos if video in done], len(videos)


def _write(out, stdout, form, model, found, videos):
    """Write results to stdout, to a file that is replaced at the end, or to one that grows."""
    if not out:
        write_results(found, stdout, form, videos)
        return
    found = track(found, len(videos))
    if model:
        append_results(out, found, model)
        return
    with atomic_write(out) as part, open(part, 'w', -1, 'utf-8', ENCODING_ERRORS, '') as file:
        write_results(found, file, form, videos)


def known_classes(inferencer, most=30):
    """Say in one line which classes a model knows, or how to name them."""
    names = inferencer.classes
    if names == [str(label) for label in range(len(names))]:
        return f'{len(names)} classes without names; --label-map FILE gives them'
    more = f', … and {len(names) - most} more' if len(names) > most else ''
    return escape(f'{len(names)} classes: {", ".join(names[:most])}{more}')


def _run_on_ray(args):
    form = args.format or 'parquet'
    if not args.out or form not in ('parquet', 'jsonl'):
        raise ValueError('--ray writes parquet or jsonl to --out, a folder or an address')
    try:
        from pan_mm.deploy import ray
    except ModuleNotFoundError as error:
        raise ImportError(f'--ray needs Ray ({error}); pip install "ray[data,serve]"') from error
    settings = inferencer_settings(args)
    ray.connect(args.ray)
    if args.device is None:
        del settings['device']  # it follows from --num-gpus
    if args.label_map:
        settings['label_map'] = os.path.abspath(args.label_map)
    try:
        counts = ray.predict_videos(
            args.videos,
            args.out,
            settings,
            args.features,
            form,
            args.num_gpus,
            args.concurrency,
        )
    except KeyboardInterrupt:
        print('interrupted: the same command continues', file=sys.stderr)
        return 1
    print(
        '{written} videos, {failed} failed; {there} were done, {failed_there} of them '
        'failed'.format(**counts),
        file=sys.stderr,
    )
    return int(counts['failed'] + counts['failed_there'] > 0)


def _until(interrupted, results, done):
    """Yield results until an interrupt, and note of each video whether it failed."""
    for result in results:
        done[result['video']] = 'error' in result
        yield result
        if interrupted.is_set():
            return
