#!/usr/bin/env python3
"""Extract the frames of all videos in a folder as JPEG files, for RawframeDataset.

SRC/CLASS/video.mp4 becomes OUT/CLASS/video/img_00001.jpg and so on. A folder appears in OUT when
all its frames are written, so the same command continues where it was stopped.
"""

import sys

from pan_mm.datasets.frame_extraction import extract_all, folders_of_frames
from pan_mm.utils.errors import cli_errors
from pan_mm.utils.terminal import tool_parser, track


def parse_args():
    parser = tool_parser(__doc__, 'my_videos my_frames --short-side 256')
    parser.add_argument('src', help='folder of videos')
    parser.add_argument('out', help='folder for the folders of frames')
    parser.add_argument('--short-side', type=int, help='resize to it; the size is kept by default')
    parser.add_argument('--quality', type=int, default=95, help='quality of the JPEG files')
    parser.add_argument('--workers', type=int, default=4, help='processes')
    return parser.parse_args()


@cli_errors()
def main():
    args = parse_args()
    folders = folders_of_frames(args.src, args.out)
    todo = {video: folder for video, folder in folders.items() if not folder.is_dir()}
    print(f'{len(folders)} videos, {len(folders) - len(todo)} of them extracted before')
    errors = extract_all(todo, args.workers, args.short_side, args.quality)
    try:
        failed = [str(error) for error in track(errors, len(todo)) if error]
    except KeyboardInterrupt:
        sys.exit('\nerror: interrupted; the same command continues from here')
    if failed:
        print(*sorted(failed), sep='\n')
        sys.exit(f'{len(failed)} of {len(folders)} videos failed')


if __name__ == '__main__':
    main()
