#!/usr/bin/env python3
"""Extract the frames of all videos in a folder as JPEG files, for RawframeDataset.

SRC/CLASS/video.mp4 becomes OUT/CLASS/video/img_00001.jpg and so on. A folder appears in OUT when
all its frames are written, so the same command goes on where it was stopped.
"""

import argparse
import os
import shutil
import signal
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import mmcv
import numpy as np
from mmengine.utils import ProgressBar

from pan_mm.datasets import VideoDecode, VideoInit
from pan_mm.datasets.decoding.door import VIDEO_SUFFIXES

BLOCK = 64  # frames that are decoded at once


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('src', help='folder of videos')
    parser.add_argument('out', help='folder for the folders of frames')
    parser.add_argument('--short-side', type=int, help='resize to it; the size is kept by default')
    parser.add_argument('--quality', type=int, default=95, help='of the JPEG files (default: 95)')
    parser.add_argument('--workers', type=int, default=4, help='processes (default: 4)')
    return parser.parse_args()


def extract(video, folder, short_side, quality):
    """Write the frames of a video into a new folder, whole or not at all."""
    part = f'{folder}.part'
    shutil.rmtree(part, ignore_errors=True)
    try:
        start, number = 0, 1
        while start < number:
            results = VideoInit().transform(dict(filename=video))  # PyAV cannot go back
            number = results['total_frames']
            results['frame_inds'] = np.arange(start, min(start + BLOCK, number))
            results = VideoDecode().transform(results)
            for i, image in enumerate(results['imgs'], start + 1):
                if short_side:
                    image = mmcv.imrescale(image, (short_side, sys.maxsize))
                mmcv.imwrite(
                    mmcv.rgb2bgr(image), f'{part}/img_{i:05}.jpg', [1, quality]
                )  # 1 is cv2.IMWRITE_JPEG_QUALITY
            start += BLOCK
        os.rename(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def find_videos(src):
    """The videos in a folder and in what it links to, without hidden files."""
    for folder, _, names in os.walk(src, followlinks=True):
        for name in names:
            if name[0] != '.' and name.lower().endswith(VIDEO_SUFFIXES):
                yield Path(folder, name)


def end_on_interrupt():
    """Let Ctrl-C, unless it is ignored, end a process, not only the video that it is at."""
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def main():
    args = parse_args()
    if not os.path.isdir(args.src):
        sys.exit(f'error: {args.src}: no such folder of videos')
    videos = sorted(find_videos(args.src))
    if not videos:
        sys.exit(f'error: {args.src}: no videos in it ({" ".join(VIDEO_SUFFIXES)})')
    folders = {v: Path(args.out, v.relative_to(args.src)).with_suffix('') for v in videos}
    owners = {}
    for video, folder in folders.items():
        other = owners.setdefault(folder, video)
        if other != video:
            sys.exit(f'error: {other} and {video} would share {folder}; rename one of them')
    todo = [video for video in videos if not folders[video].is_dir()]
    print(f'{len(videos)} videos, {len(videos) - len(todo)} of them extracted before')
    failed = []
    with ProcessPoolExecutor(args.workers, initializer=end_on_interrupt) as pool:
        jobs = {
            pool.submit(extract, str(v), str(folders[v]), args.short_side, args.quality): v
            for v in todo
        }
        bar = ProgressBar(len(jobs), file=sys.stderr) if jobs else None
        try:
            for job in as_completed(jobs):
                if job.exception():
                    failed.append(str(job.exception()))
                bar.update()
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            sys.exit('\nerror: interrupted; the same command goes on from here')
    if failed:
        print(*sorted(failed), sep='\n')
        sys.exit(f'{len(failed)} of {len(videos)} videos failed')


if __name__ == '__main__':
    main()
