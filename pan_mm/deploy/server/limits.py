"""Limits of the cost of a request, and the token that clients of the API show."""

import sys
from pathlib import Path
from typing import NamedTuple, Optional

LEAST_TOKEN = 16  # characters


class Limits(NamedTuple):
    """Bounds of a request, a video and the server.

    Attributes:
        max_bytes (int): Size of an upload.
        max_seconds (float): Length of a video.
        max_pixels (int): Pixels of a frame.
        max_work (int): Pixels × frames of a video. The default is ten minutes of 1280 × 720 at
            30 frames a second, and a fifth more.
        max_input (int): Pixels of a frame as the network gets it.
        max_memory (int): Bytes that a decoding process may allocate.
        timeout (float): Seconds to send a request, and seconds to answer it, waiting included. A
            video may be decoded for half of them.
        waiting (int): Videos that wait while one is recognized.
        decoding (int): Videos that are decoded, or wait decoded for the model.
        cameras (int): Live cameras followed at once.
    """

    max_bytes: int = 64 * 2**20
    max_seconds: float = 600.0
    max_pixels: int = 4096 * 2304
    max_work: int = 20 * 10**9
    max_input: int = 640 * 480
    max_memory: int = 3 * 2**30
    timeout: float = 60.0
    waiting: int = 16
    decoding: int = 2
    cameras: int = 4


def read_token(path: Optional[str]) -> Optional[str]:
    """Read the token in a file, without the space around it.

    Raises:
        ValueError: If it is too short, or has characters that a header cannot hold.
    """
    if path is None:
        return None
    token = Path(path).read_text(encoding='utf-8').strip()
    if Path(path).stat().st_mode & 0o077:
        print(f'warning: others can read the token; chmod 600 {path}', file=sys.stderr)
    if len(token) < LEAST_TOKEN or not token.isascii() or not token.isprintable() or ' ' in token:
        raise ValueError(
            f'{path} must hold a token of {LEAST_TOKEN} characters or more, without spaces; '
            'openssl rand -hex 32 makes one'
        )
    return token
