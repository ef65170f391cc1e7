"""``python -m pan_mm predict``: name the actions in video files."""

import os
import sys
from contextlib import redirect_stdout
from pathlib import Path

from pan_mm.apis import PANInferencer
from pan_mm.inference.predictions import (
    ENCODING_ERRORS,
    FEATURE_FORMATS,
    FORMATS,
    ShardedResults,
    fingerprint,
    has_parquet,
    write_features,
    write_results,
)
from pan_mm.inference.videos import find_videos
from pan_mm.utils.files import atomic_write
from pan_mm.utils.terminal import track

from .options import (
    add_allow_native_code,
    add_cfg_options,
    add_model,
    add_optimize,
    chosen_model,
)

SHARDED = ('jsonl', 'parquet')  # for several processes, and to resume


def add_arguments(parser):
    parser.epilog = """\
Exit status: 0 if all videos were recognized, 1 if some failed, 2 if nothing
was done. Under torchrun the processes share the videos; give --out NAME.jsonl
or NAME.parquet, and run the same command again to resume.

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
    parser.add_argument('--workers', type=int, default=0, help='processes that decode')
    add_optimize(parser)
    add_allow_native_code(parser)
    parser.add_argument('--label-map', metavar='FILE', help='class names, one per line')
    parser.add_argument('--topk', type=int, default=5, help='classes to show')
    parser.add_argument(
        '--features',
        action='store_true',
        help="write the backbone's features, C numbers per video, instead of classes, to NAME.npz "
        '(arrays video and features), NAME.jsonl or NAME.json',
    )
    parser.add_argument(
        '--out', metavar='FILE', help='file of results; by default they are printed'
    )
    parser.add_argument(
        '--format',
        choices=(*FORMATS, 'npz'),
        help='by default the suffix of --out, or table without --out',
    )
    add_cfg_options(parser)


def run(args):
    stdout = sys.stdout
    stdout.reconfigure(errors=ENCODING_ERRORS)
    with redirect_stdout(sys.stderr):  # MMEngine logs there
        return _run(args, stdout)


def _run(args, stdout):
    rank, world_size = (int(os.environ.get(n, d)) for n, d in (('RANK', 0), ('WORLD_SIZE', 1)))
    try:
        form = _format(args, world_size)
        videos = find_videos([*args.videos, *([f'@{args.list}'] if args.list else [])])
        if not videos:
            raise ValueError('no videos; name files, folders, globs, or a list with --list')
        config, checkpoint = chosen_model(args)
        inferencer = PANInferencer(
            config,
            checkpoint,
            device=_device(args.device, world_size),
            batch_size=args.batch_size,
            label_map=args.label_map,
            topk=args.topk,
            num_workers=args.workers,
            optimize=args.optimize,
            allow_native_code=args.allow_native_code,
        )
        if form in SHARDED and args.out:
            failed, total = _resume(args, form, inferencer, checkpoint, videos, rank, world_size)
        else:
            found = inferencer.iterate(videos, args.features)
            failed, total = _write(args.out or stdout, form, found, videos)
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    if failed:
        print(f'{failed} of {total} videos failed, see "error" in the results', file=sys.stderr)
    return 1 if failed else 0


def _format(args, world_size):
    formats = FEATURE_FORMATS if args.features else FORMATS
    default = Path(args.out).suffix[1:] if args.out else 'jsonl' if args.features else 'table'
    form = args.format or default
    if form not in formats:
        what = 'features are' if args.features else 'results are'
        raise ValueError(f'{args.out}: {what} written as {", ".join(formats)}; give --format')
    if form == 'npz' and not (args.out and args.out.endswith('.npz')):
        raise ValueError('arrays are written to files: give --out NAME.npz')
    if world_size > 1 and not (args.out and form in SHARDED):
        raise ValueError(
            'several processes write JSON lines or Parquet: give --out NAME.jsonl or NAME.parquet'
        )
    if form == 'parquet' and not (args.out and args.out.endswith('.parquet')):
        raise ValueError('Parquet is written to files: give --out NAME.parquet')
    if form == 'parquet' and not has_parquet():
        raise ValueError('Parquet needs pyarrow: pip install pyarrow')
    if args.out and not Path(args.out).absolute().parent.is_dir():
        raise ValueError(f'{args.out}: its folder does not exist')
    return form


def _device(device, world_size):
    if device in (None, 'cuda') and world_size > 1:
        import torch

        if torch.cuda.is_available():
            return f'cuda:{int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count()}'
    return device


def _resume(args, form, inferencer, checkpoint, videos, rank, world_size):
    checkpoint = checkpoint if '://' in checkpoint else Path(checkpoint)
    model = fingerprint(
        inferencer.config.pretty_text,
        checkpoint,
        *([checkpoint.with_suffix('.bin')] if str(checkpoint).endswith('.xml') else []),  # OpenVINO
        inferencer.classes,
        inferencer.topk,
        *(extra for extra in args.optimize or () if extra == 'half'),  # it changes scores
        *(['features'] if args.features else []),
    )
    lines = Path(args.out).with_suffix('.jsonl') if form == 'parquet' else Path(args.out)
    with ShardedResults(lines, model, rank, world_size) as results:
        own = results.share(videos)
        todo = [video for video in own if video not in results.done]
        if len(todo) < len(own):
            done = len(own) - len(todo)
            print(f'resuming: {done} of {len(own)} videos are done', file=sys.stderr)
        found = inferencer.iterate(todo, args.features)
        results.write(track(found, len(todo)) if rank == 0 else found)
        if form == 'parquet':
            results.to_parquet()
        return sum(results.done[video] for video in own), len(own)


def _write(out, form, found, videos):
    to_file = isinstance(out, str)
    failed = []

    def watch(results):
        for result in results:
            failed.extend([result['video']] if 'error' in result else [])
            yield result

    results = watch(track(found, len(videos)) if to_file else found)
    if not to_file:
        write_results(results, out, form, videos)
    elif form == 'npz':
        with atomic_write(out) as part:
            write_features(results, part)
    else:
        with atomic_write(out) as part, open(part, 'w', -1, 'utf-8', ENCODING_ERRORS, '') as file:
            write_results(results, file, form, videos)
    return len(failed), len(videos)
