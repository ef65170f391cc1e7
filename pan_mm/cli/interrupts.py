"""An interrupt as something to look at, so that work ends where nothing is lost."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = ('SIGINT', 'SIGTERM', 'SIGHUP')  # Ctrl-C, a batch system, a closed terminal


@contextmanager
def noted_interrupts() -> Iterator[threading.Event]:
    """Give an event that the first interrupt sets; a second one ends the program as usual."""
    interrupted = threading.Event()
    numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    before = {n: signal.getsignal(n) for n in numbers if signal.getsignal(n) != signal.SIG_IGN}

    def note(number, frame):
        interrupted.set()
        signal.signal(number, before[number])

    for number in before:
        signal.signal(number, note)
    try:
        yield interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
