"""``python -m pan_mm stream``: events in a video, a camera or a network stream."""

import json
import signal
import sys
from contextlib import closing, redirect_stdout, suppress

from pan_mm.deploy.streaming.events import EventDetector
from pan_mm.deploy.streaming.recognizer import StreamRecognizer
from pan_mm.deploy.streaming.sources import FrameBuffer, open_source
from pan_mm.inference.optimization import optimize
from pan_mm.inference.recognizer import class_names, count_classes, load_recognizer
from pan_mm.utils.addresses import redact_url
from pan_mm.utils.errors import VideoError
from pan_mm.utils.terminal import status

from .interrupts import handled_interrupts
from .options import add_model, add_running, chosen_model

ON = 0.5
TOP = 5  # classes in a prediction


def add_arguments(parser):
    parser.epilog = """\
Events are written to stdout, one JSON object per line, with times in seconds
(Unix time for a live source). Counts are written to stderr at the end, also
after an interrupt, SIGTERM or SIGHUP. Exit status: 0, or 1 if the source
failed or is shorter than a window.

example:
  python -m pan_mm stream rtsp://camera.local/live --on 0.6 --off 0.4"""
    parser.add_argument('source', help='video file, number of a camera, rtsp:// or http:// address')
    add_model(parser)
    add_running(parser)
    parser.add_argument('--stride', type=int, default=8, help='frames between segments')
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


def run(args):
    stdout = sys.stdout
    with redirect_stdout(sys.stderr):  # MMEngine logs there
        return _run(args, stdout)


def _run(args, stdout):
    config, checkpoint = chosen_model(args)
    model = load_recognizer(config, checkpoint, args.device)
    names = class_names(count_classes(model), args.label_map, model.dataset_meta, model.cfg)
    if args.optimize is not None:
        optimize(model, args.optimize)
    recognizer = StreamRecognizer(model, args.stride)
    threshold = recognizer.calibration.threshold
    on = max(ON, threshold) if args.on is None else args.on
    detector = EventDetector(on, args.off, args.min_duration)

    buffer = FrameBuffer(recognizer.buffer_len, recognizer.starts_segment)
    counts, interrupted = dict(frames=0, predictions=0), True
    with (
        suppress(KeyboardInterrupt),
        handled_interrupts(signal.default_int_handler),
        closing(open_source(args.source, buffer)) as source,
        # On a terminal that also receives the events, they replace the status.
        status('waiting for frames', not stdout.isatty()) as show,
    ):
        for prediction in _predictions(source, recognizer, counts):
            show(f'{counts["frames"]} frames')
            if args.predictions:
                _write(stdout, _prediction(prediction, names, threshold))
            for event in detector.update(*prediction[:3]):
                _write(stdout, _event(event, names))
        interrupted = False
    for event in detector.finish():
        _write(stdout, _event(event, names))
    print(json.dumps(dict(counts, dropped=buffer.dropped)), file=sys.stderr)
    if not counts['predictions'] and not interrupted:
        hint = 'lower --stride' if args.stride > 1 else 'it is too short for this model'
        raise VideoError(
            f'{redact_url(args.source)} has {counts["frames"]} frames, but the first '
            f'prediction needs {recognizer.first_prediction}; {hint}'
        )


def _predictions(source, recognizer, counts):
    for frame in source:
        prediction = recognizer.push(frame.image, frame.timestamp, frame.index, frame.captured)
        counts['frames'] += 1
        if prediction is not None:
            counts['predictions'] += 1
            yield prediction


def _write(stdout, record):
    print(json.dumps(record, ensure_ascii=False, allow_nan=False), file=stdout, flush=True)


def _event(event, names):
    times = dict(start=round(event.start, 3), end=round(event.end, 3))
    return dict(label=names[event.label], **times, score=round(event.score, 4))


def _prediction(prediction, names, threshold):
    best = prediction.scores.argsort()[::-1][:TOP]
    record = dict(
        time=round(prediction.end, 3),
        top={names[label]: round(float(prediction.scores[label]), 4) for label in best},
        latency_ms=round(prediction.latency * 1000, 1),
    )
    if threshold:
        record['unsure'] = bool(prediction.scores.max() < threshold)
    return record
