"""``python -m pan_mm stream``: events in a video, a camera or a network stream."""

import json
import sys

from pan_mm.apis.events import Event, EventDetector, ScoreSmoother
from pan_mm.apis.recognizer import class_names, count_classes, load_recognizer
from pan_mm.apis.sources import open_source
from pan_mm.apis.streaming import StreamRecognizer, StreamStats, recognize_stream
from pan_mm.datasets import VideoError


def add_arguments(parser):
    parser.add_argument('source', help='video file, number of a camera, rtsp:// or http:// address')
    parser.add_argument('--config', required=True, help='config of the model')
    parser.add_argument('--checkpoint', help='its weights; random without')
    parser.add_argument('--device', help='cpu, cuda:0, …; the accelerator if there is one')
    parser.add_argument('--label-map', help='text file of class names, one a line')
    parser.add_argument('--stride', type=int, default=8, help='frames between segments')
    parser.add_argument('--hop', type=int, default=1, help='segments between predictions')
    parser.add_argument(
        '--smoothing', type=float, default=1.0, help='weight of the newest scores in their average'
    )
    parser.add_argument('--on', type=float, default=0.5, help='score at which an event starts')
    parser.add_argument('--off', type=float, default=0.3, help='score below which it ends')
    parser.add_argument('--min-duration', type=float, default=0.0, help='seconds it has to last')
    parser.add_argument('--predictions', action='store_true', help='write every prediction too')
    parser.add_argument('--topk', type=int, default=5, help='classes in a prediction')
    parser.add_argument('--buffer', type=int, help='frames of a live source that may wait')
    parser.add_argument('--retries', type=int, help='attempts to reopen a live source; endless')


def run(args):
    model = load_recognizer(args.config, args.checkpoint, args.device)
    names = class_names(count_classes(model), args.label_map, model.dataset_meta, model.cfg)
    recognizer = StreamRecognizer(model, args.stride, args.hop)
    smoother, detector = (
        ScoreSmoother(args.smoothing),
        EventDetector(args.on, args.off, args.min_duration),
    )
    stats = StreamStats()
    status = 0
    source = None
    try:
        source = open_source(args.source, recognizer.buffer(args.buffer), args.retries)
        for result in recognize_stream(source, recognizer, smoother, detector, stats):
            if isinstance(result, Event):
                write_event(result, names)
            elif args.predictions:
                write_prediction(result, names, args.topk, stats.fps)
    except VideoError as error:
        print(f'error: {error}', file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        status = 130
    finally:
        if source is not None:
            source.close()
    for event in detector.finish():
        write_event(event, names)
    summary = stats.as_dict()
    if source is not None:
        summary['dropped'] = source.dropped
        print(json.dumps(summary), file=sys.stderr)
    if not status and not stats.predictions:
        print(
            f'error: {args.source} has {stats.frames} frames, the first prediction needs '
            f'{recognizer.first_prediction}; lower --stride',
            file=sys.stderr,
        )
        status = 1
    return status


def write_event(event, names):
    write(
        label=names[event.label],
        start=round(event.start, 3),
        end=round(event.end, 3),
        score=round(event.score, 4),
    )


def write_prediction(prediction, names, topk, fps):
    top = prediction.scores.argsort()[::-1][:topk]
    write(
        time=round(prediction.end, 3),
        top={names[label]: round(float(prediction.scores[label]), 4) for label in top},
        latency_ms=round(prediction.latency * 1000, 1),
        fps=round(fps, 1),
    )


def write(**record):
    print(json.dumps(record, ensure_ascii=False), flush=True)
