"""Limits of the cost of a request."""

from typing import NamedTuple


class Limits(NamedTuple):
    """Bounds of a request, a video and the server.

    Attributes:
        max_bytes (int): Size of an upload. Defaults to 64 MiB.
        max_seconds (float): Length of a video. Defaults to ten minutes.
        max_pixels (int): Pixels of a frame. Defaults to 4096 × 2304.
        max_work (int): Pixels × frames of a video. The default is ten minutes of 1280 × 720 at
            30 frames a second, and a fifth more.
        max_input (int): Pixels of a frame as the network gets it; a test pipeline that does not
            resize passes on any size.
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
