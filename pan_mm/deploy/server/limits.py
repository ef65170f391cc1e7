"""What the server refuses, and how those who ask at once take turns."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple

TICK = 0.25  # seconds between checks that someone still waits for the answer


class Refusal(Exception):
    """A request that is not served.

    Args:
        status (int): HTTP status, 4xx or 503.
        message (str): What is wrong and how to fix it.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Limits(NamedTuple):
    """What a request may cost.

    Attributes:
        max_bytes (int): Size of a request's body.
        max_seconds (float): Length of a video.
        max_pixels (int): Pixels of a frame. The default is 4K, 4096 × 2304.
        max_work (float): Pixels × frames of a video. The default is ten minutes of 1280 × 720 at
            30 frames a second, and a fifth more.
        max_input (int): Pixels of a frame as the network gets it; a test pipeline that does not
            resize passes on what comes.
        max_memory (int): Bytes that a process which decodes may take.
        timeout (float): Seconds to send a request, and seconds to serve it, waiting included. A
            video may be decoded for half of them.
        waiting (int): Requests that wait while one is served.
        cameras (int): Visitors' cameras that are followed at once.
        connections (int): Open at once.
        per_client (int): Connections of one client's address among them.
    """

    max_bytes: int = 64 * 2**20
    max_seconds: float = 600.0
    max_pixels: int = 4096 * 2304
    max_work: float = 20e9
    max_input: int = 640 * 480
    max_memory: int = 3 * 2**30
    timeout: float = 60.0
    waiting: int = 16
    cameras: int = 4
    connections: int = 512
    per_client: int = 16


class Deadline:
    """When the work on a request ends: after some seconds, or once it is called off.

    Args:
        seconds (float): From now.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._called_off = False

    def call_off(self) -> None:
        """Nobody waits for the answer any more, or the server is about to end."""
        self._called_off = True

    @property
    def left(self) -> float:
        """Seconds, not below 0."""
        return 0.0 if self._called_off else max(0.0, self._end - time.monotonic())


class Turns:
    """Lets a few at a time do something, in the order in which they came.

    A lock would let one who asks for every frame starve others.

    Args:
        width (int): How many at a time. Defaults to 1.
    """

    def __init__(self, width: int = 1) -> None:
        self._width = width
        self._changed = threading.Condition()
        self._tickets = deque()  # the first ``width`` are running

    @contextmanager
    def turn(self, deadline: Deadline) -> Iterator[None]:
        """Have a turn, or be refused with 503 at ``deadline``."""
        ticket = object()
        with self._changed:
            self._tickets.append(ticket)
        try:
            with self._changed:
                while ticket not in islice(self._tickets, self._width):
                    if not deadline.left:
                        raise Refusal(503, 'the server was busy for too long; try again later')
                    self._changed.wait(min(deadline.left, TICK))
            yield
        finally:
            with self._changed:
                self._tickets.remove(ticket)
                self._changed.notify_all()


class Gate(Turns):
    """Lets one request at a time to the model and a few wait; the rest are refused.

    Args:
        waiting (int): Requests that may wait.
    """

    def __init__(self, waiting: int) -> None:
        super().__init__()
        self.capacity = waiting + 1
        self.taken = 0
        self._count = threading.Lock()

    @contextmanager
    def place(self) -> Iterator[None]:
        """Come in, or be refused with 503 if the queue is full."""
        with self._count:
            if self.taken >= self.capacity:
                raise Refusal(503, 'the server is busy; try again in a few seconds')
            self.taken += 1
        try:
            yield
        finally:
            with self._count:
                self.taken -= 1
