"""``python -m pan_mm stream``: events in a video, a camera or a network stream."""

import json
import signal
import sys
from contextlib import redirect_stdout

from pan_mm.deploy.streaming.events import Event, EventDetector, ScoreSmoother
from pan_mm.deploy.streaming.recognizer import StreamRecognizer, StreamStats, recognize_stream
from pan_mm.deploy.streaming.sources import open_source
from pan_mm.inference.optimization import optimize
from pan_mm.inference.recognizer import class_names, count_classes, load_recognizer
from pan_mm.utils.addresses import redact_url
from pan_mm.utils.errors import VideoError
from pan_mm.utils.terminal import status

from .interrupts import handled_interrupts
from .options import add_cfg_options, add_model, add_optimize, chosen_model

ON = 0.5


def add_arguments(parser):
    parser.epilog = """\
Events are written to stdout, one JSON object per line, with times in seconds
(Unix time for a live source). Counts, fps and latency are written to stderr at
the end, also after an interrupt, SIGTERM or SIGHUP. Exit status: 0, or 1 if the source
failed or is shorter than a window.

example:
  python -m pan_mm stream rtsp://camera.local/live --on 0.6 --off 0.4"""
    parser.add_argument('source', help='video file, number of a camera, rtsp:// or http:// address')
    add_model(parser)
    parser.add_argument('--device', help='cpu, cuda, cuda:1, ...; by default the accelerator')
    parser.add_argument('--label-map', metavar='FILE', help='class names, one per line')
    add_optimize(parser)
    parser.add_argument('--stride', type=int, default=8, help='frames between segments')
    parser.add_argument('--hop', type=int, default=1, help='segments between predictions')
    parser.add_argument(
        '--smoothing', type=float, default=1.0, help='weight of the newest scores in their average'
    )
    parser.add_argument(
        '--on',
        type=float,
        help=f'score at which an event starts; by default {ON}, and no less than is sure',
    )
    parser.add_argument('--off', type=float, default=0.3, help='score below which an event ends')
    parser.add_argument(
        '--min-duration', type=float, default=0.0, help='seconds that an event must last'
    )
    parser.add_argument('--predictions', action='store_true', help='write every prediction too')
    parser.add_argument('--topk', type=int, default=5, help='classes in a prediction')
    parser.add_argument(
        '--buffer', type=int, help='frames of a live source that may wait; by default, one segment'
    )
    parser.add_argument(
        '--retries', type=int, help='attempts to reopen a live source; by default, no limit'
    )
    add_cfg_options(parser)


def run(args):
    stdout = sys.stdout
    with redirect_stdout(sys.stderr):  # MMEngine logs there
        return _run(args, stdout)


def _run(args, stdout):
    for name in ('topk', 'buffer'):
        if (value := getattr(args, name)) is not None and value < 1:
            raise ValueError(f'--{name} must be at least 1, got {value}')
    smoother = ScoreSmoother(args.smoothing)
    config, checkpoint = chosen_model(args)
    model = load_recognizer(config, checkpoint, args.device)
    names = class_names(count_classes(model), args.label_map, model.dataset_meta, model.cfg)
    if args.optimize is not None:
        optimize(model, args.optimize)
    recognizer = StreamRecognizer(model, args.stride, args.hop)
    threshold = recognizer.calibration.threshold
    on = max(ON, threshold) if args.on is None else args.on
    detector = EventDetector(on, args.off, args.min_duration)
    stats = StreamStats()

    def record(prediction):
        found = prediction_record(prediction, names, args.topk, stats.fps)
        if threshold:
            found['unsure'] = bool(prediction.scores.max() < threshold)
        return found

    def write(result):
        if isinstance(result, Event):
            print(_json(event_record(result, names)), file=stdout)
        elif args.predictions:
            print(_json(record(result)), file=stdout)
        stdout.flush()

    source = open_source(args.source, recognizer.buffer(args.buffer), args.retries)
    interrupted = False
    try:
        # On a terminal that also receives the events, they replace the status.
        with (
            handled_interrupts(signal.default_int_handler),
            status('waiting for frames', not stdout.isatty()) as show,
        ):
            for result in recognize_stream(source, recognizer, smoother, detector, stats):
                write(result)
                show(f'{stats.frames} frames, {stats.fps:.1f} frames/s')
    except KeyboardInterrupt:
        interrupted = True
    finally:
        source.close()
        for event in detector.finish():
            write(event)
        print(json.dumps(dict(stats.as_dict(), dropped=source.dropped)), file=sys.stderr)
    if not stats.predictions and not interrupted:
        hint = 'lower --stride' if args.stride > 1 else 'it is too short for this model'
        raise VideoError(
            f'{redact_url(args.source)} has {stats.frames} frames, but the first '
            f'prediction needs {recognizer.first_prediction}; {hint}'
        )
    return 0


def _json(record):
    return json.dumps(record, ensure_ascii=False, allow_nan=False)


def event_record(event, names):
    """Make the record of an event."""
    return dict(
        label=names[event.label],
        start=round(event.start, 3),
        end=round(event.end, 3),
        score=round(event.score, 4),
    )


def prediction_record(prediction, names, topk, fps):
    """Make the record of a prediction."""
    best = prediction.scores.argsort()[::-1][:topk]
    return dict(
        time=round(prediction.end, 3),
        top={names[label]: round(float(prediction.scores[label]), 4) for label in best},
        latency_ms=round(prediction.latency * 1000, 1),
        fps=round(fps, 1),
    )
