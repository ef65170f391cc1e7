"""Handling of what ends a command: an interrupt, a batch system, a closed terminal."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = ('SIGINT', 'SIGTERM', 'SIGHUP')


@contextmanager
def handled_interrupts(handler: Callable) -> Iterator[dict]:
    """Handle the signals that end a command; give the handlers before, which come back."""
    numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    numbers = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield before
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


@contextmanager
def noted_interrupts() -> Iterator[threading.Event]:
    """Give an event that the first interrupt sets; a second one ends the program as usual."""
    interrupted = threading.Event()

    def note(number, frame):
        interrupted.set()
        signal.signal(number, before[number])

    with handled_interrupts(note) as before:
        yield interrupted
