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
from pan_mm.utils.errors import LINES, escape
from pan_mm.utils.files import ENCODING_ERRORS, atomic_write
from pan_mm.utils.terminal import track

from .interrupts import noted_interrupts
from .options import add_cfg_options, add_model, add_optimize, chosen_model


def add_arguments(parser):
    parser.epilog = """\
Exit status: 0 if all videos were recognized, 1 if some failed or were not
reached, 2 if nothing was done. The first interrupt (Ctrl-C, SIGTERM) ends it
after the current batch and keeps the results. With --out NAME.jsonl, and with
--ray, the same command continues. With --ray, bad input ends it with 1.

example:
  python -m pan_mm predict my_videos --topk 3 --out actions.csv"""
    parser.add_argument(
        'videos',
        nargs='*',
        metavar='VIDEO',
        help='a file, a folder, a glob in quotes, or @FILE with one of these per line',
    )
    parser.add_argument('--list', metavar='FILE', help='the same as @FILE')
    add_model(parser, 'file or URL, or an exported model')
    parser.add_argument('--device', help='cpu, cuda, cuda:1, ...; by default the accelerator')
    parser.add_argument('--batch-size', type=int, default=8, help='videos in a batch')
    parser.add_argument(
        '--workers', type=int, default=1, help='processes that decode; 0: in this one'
    )
    add_optimize(parser)
    parser.add_argument('--label-map', metavar='FILE', help='class names, one per line')
    parser.add_argument(
        '--no-reject',
        action='store_true',
        help='do not say where the model is unsure',
    )
    parser.add_argument('--topk', type=int, default=5, help='classes to show')
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
        help='auto, HOST:PORT or ray://HOST:PORT; without it on this machine only. Sources and '
        '--out may be addresses such as s3://BUCKET/FOLDER, and sources Parquet files',
    )
    cluster.add_argument('--num-gpus', type=float, default=0, help='GPUs of each model; 0: the CPU')
    cluster.add_argument(
        '--concurrency', type=int, help='models at most; by default as many as there is room for'
    )
    add_cfg_options(parser)


def run(args):
    stdout = sys.stdout
    stdout.reconfigure(errors=ENCODING_ERRORS)
    with redirect_stdout(sys.stderr):  # MMEngine logs there
        if args.ray is not None:
            return _run_on_ray(args)
        try:
            done, total = _recognize(args, stdout)
        except BrokenPipeError:
            raise
        except (OSError, ValueError) as error:
            print(f'error: {escape(error, keep=LINES)}', file=sys.stderr)
            return 2
    if sum(done):
        print(f'{sum(done)} of {total} videos failed, see "error" in the results', file=sys.stderr)
    if len(done) < total:
        print(f'interrupted: {len(done)} of {total} videos are done', file=sys.stderr)
    return 1 if sum(done) or len(done) < total else 0


def _recognize(args, stdout):
    """Tell of each video that is done whether it failed, and how many there are."""
    form = _format(args)
    videos = find_videos(_sources(args))
    if not videos:
        raise ValueError('no videos; name files, folders, globs, or a list with --list')
    workers = args.workers if len(videos) > 1 else 0  # a process takes time to start
    if workers:
        preload()
    settings = _settings(args)
    inferencer = PANInferencer(**settings, num_workers=workers)
    print(known_classes(inferencer), file=sys.stderr)
    with noted_interrupts() as interrupted:
        if form == 'jsonl' and args.out:
            model = fingerprint_of(inferencer, settings['checkpoint'], args.optimize)
            done = read_done(args.out, model)
            todo = [video for video in videos if video not in done]
            if len(todo) < len(videos):
                before = len(videos) - len(todo)
                print(f'resuming: {before} of {len(videos)} videos are done', file=sys.stderr)
            found = _until(interrupted, track(inferencer.iterate(todo), len(todo)), [])
            done.update(append_results(args.out, found, model))
            return [done[video] for video in videos if video in done], len(videos)
        failed = []
        found = _until(interrupted, inferencer.iterate(videos), failed)
        _write(args.out or stdout, form, found, videos)
    return failed, len(videos)


def _settings(args):
    """Arguments of a PANInferencer."""
    config, checkpoint = chosen_model(args)
    return dict(
        config=config,
        checkpoint=checkpoint,
        device=args.device,
        batch_size=args.batch_size,
        label_map=args.label_map,
        topk=args.topk,
        optimize=args.optimize,
        reject=not args.no_reject,
    )


def _sources(args):
    return [*args.videos, *([f'@{args.list}'] if args.list else [])]


def _run_on_ray(args):
    if not args.out or args.format not in (None, 'parquet', 'jsonl'):
        raise ValueError('--ray writes Parquet or JSON lines: give --out FOLDER, or an address')
    try:
        from pan_mm.deploy import ray
    except ModuleNotFoundError as error:
        raise ImportError(f'--ray needs Ray ({error}); pip install "ray[data,serve]"') from error
    settings = _settings(args)
    ray.connect(args.ray)
    if args.device is None:
        del settings['device']  # it follows from --num-gpus
    if args.label_map:
        settings['label_map'] = os.path.abspath(args.label_map)
    try:
        counts = ray.predict_videos(
            _sources(args),
            args.out,
            settings,
            args.format or 'parquet',
            args.num_gpus,
            args.concurrency,
        )
    except KeyboardInterrupt:
        print('interrupted: the same command continues', file=sys.stderr)
        return 1
    done, failed = counts['there'], counts['failed_there']
    if done:
        print(f'resuming: {done} videos were done, {failed} of them failed', file=sys.stderr)
    print(f'{counts["written"]} videos, {counts["failed"]} failed', file=sys.stderr)
    failed += counts['failed']
    if failed:
        print('the column "error" of the results tells why', file=sys.stderr)
    return 1 if failed else 0


def known_classes(inferencer: PANInferencer, shown: int = 30) -> str:
    """Say which classes a model knows, or how to name them."""
    names = inferencer.classes
    if names == [str(label) for label in range(len(names))]:
        return f'{len(names)} classes without names; --label-map FILE gives them'
    more = f', … and {len(names) - shown} more' if len(names) > shown else ''
    return escape(f'{len(names)} classes: {", ".join(names[:shown])}{more}')


def _until(interrupted, results, failed):
    for result in results:
        failed.append('error' in result)
        yield result
        if interrupted.is_set():
            return


def _format(args):
    form = args.format or (Path(args.out).suffix[1:] if args.out else 'table')
    if form not in FORMATS:
        name = args.out or 'results'
        raise ValueError(f'{name}: results are written as {", ".join(FORMATS)}; give --format')
    if args.out and not Path(args.out).absolute().parent.is_dir():
        raise ValueError(f'{args.out}: its folder does not exist')
    return form


def _write(out, form, results, videos):
    if not isinstance(out, str):
        write_results(results, out, form, videos)
        return
    with atomic_write(out) as part, open(part, 'w', -1, 'utf-8', ENCODING_ERRORS, '') as file:
        write_results(track(results, len(videos)), file, form, videos)
