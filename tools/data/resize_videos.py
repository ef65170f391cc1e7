#!/usr/bin/env python3
"""Copy videos to a smaller size, for trainings that spend their time on decoding.

OUT gets the same folders and names. Each copy is an MP4 file with the same frames, a keyframe every
eight of them, and no sound. Copies that are there are kept, so that the same command
continues. Videos that cannot be read are named at the end, and the exit status is 1.
"""

import os
import sys
from fractions import Fraction
from pathlib import Path

import av

from pan_mm.datasets import VideoInit
from pan_mm.datasets.container import reason_of
from pan_mm.inference.videos import expand_local
from pan_mm.utils.errors import DataError, VideoError, cli_errors, listed
from pan_mm.utils.files import atomic_write
from pan_mm.utils.terminal import echo, tool_parser, track

# Hardly visible losses, and keyframes as dense as segments, since decoding begins at one.
OPTIONS = dict(crf='18', preset='fast', g='8')
FPS = 25  # of videos that do not say theirs


def parse_args():
    parser = tool_parser(__doc__, 'my_videos small_videos')
    parser.add_argument('folder', type=Path)
    parser.add_argument('out', type=Path)
    parser.add_argument('--short-side', type=int, default=160, help='of the copies, in pixels')
    args = parser.parse_args()
    if args.short_side < 32:
        parser.error('--short-side must be at least 32')
    return args


def resize(video, target, short_side):
    """Write a copy of a video; its short side has ``short_side`` pixels, or fewer as before."""
    opened = VideoInit(num_threads=os.cpu_count() or 1).transform(dict(filename=video))
    reader = opened['video_reader']
    rate = Fraction(reader.avg_fps or FPS).limit_denominator(1001)
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(target) as part, av.open(part, 'w', format='mp4') as file:
        stream = file.add_stream('libx264', rate=rate, options=OPTIONS, pix_fmt='yuv420p')
        for number, image in enumerate(reader):
            frame = av.VideoFrame.from_ndarray(image)
            if number == 0:  # later frames of another size get this one
                scale = min(short_side / min(frame.width, frame.height), 1)
                # Halves of both sides hold the colors.
                stream.width, stream.height = (
                    max(round(scale * side / 2), 1) * 2 for side in (frame.width, frame.height)
                )
            frame = frame.reformat(stream.width, stream.height, 'yuv420p', interpolation='AREA')
            frame.pts, frame.time_base = number, 1 / rate
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


@cli_errors()
def main():
    args = parse_args()
    if args.out.resolve().is_relative_to(args.folder.resolve()):
        raise DataError(f'{args.out} is in {args.folder}; name a folder outside of it')
    if not args.folder.is_dir():
        raise DataError(f'{args.folder}: no such folder')
    videos = expand_local(str(args.folder))
    names = [Path(video).relative_to(args.folder) for video in videos]
    targets = [
        args.out / (name if name.suffix == '.mp4' else name.with_name(f'{name.name}.mp4'))
        for name in names
    ]

    faults = []
    for video, target in track(zip(videos, targets), len(videos)):
        try:
            if not target.exists():
                resize(video, target, args.short_side)
        except VideoError as error:
            faults.append(str(error))
        except av.error.FFmpegError as error:
            reason = reason_of(error)
            faults.append(f'{video}: cannot be decoded ({reason}); remove or replace the file')
        except KeyboardInterrupt:
            sys.exit('stopped; the same command continues')
    print(f'{len(videos) - len(faults)} videos in {args.out}')
    if faults:
        echo(f'{len(faults)} cannot be copied:{listed(faults)}', 'red')
        sys.exit(1)


if __name__ == '__main__':
    main()
