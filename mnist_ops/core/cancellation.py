"""The wish to stop, told to whatever computes in this process.

A training looks between two steps whether it should stop, so that what it saves is whole.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# The exit code of a command that was told to stop.
INTERRUPTED = 130

_LAST_WORDS = b"\nmnist-ops: left at once. What was saved is kept; the same command goes on.\n"
_EVERY_GRID = ""
_requested: set[str] = set()
# Whether something runs here that looks at the wish.
_cooperating = threading.Event()


def request(grid: str = _EVERY_GRID) -> None:
    """Ask what computes for `grid` in this process, or for any, to stop at the next whole step."""
    _requested.add(grid)


def requested(grid: str = _EVERY_GRID) -> bool:
    """Whether somebody asked `grid` to stop."""
    return not _requested.isdisjoint((grid, _EVERY_GRID))


def reset() -> None:
    """Nobody wishes anything any more: something new begins."""
    _requested.clear()


@contextmanager
def cooperative() -> Iterator[None]:
    """Within it a signal is a wish that the code looks at; outside it interrupts at once."""
    _cooperating.set()
    try:
        yield
    finally:
        _cooperating.clear()


def on_signals() -> None:
    """Take Ctrl-C and SIGTERM as the wish to stop; a second Ctrl-C ends this process at once."""

    def handle(number: int, frame: FrameType | None) -> None:
        if not _cooperating.is_set():
            raise KeyboardInterrupt
        if requested() and number == signal.SIGINT:
            # What is worth keeping is on disk, and the next start ends what this leaves open.
            os.write(2, _LAST_WORDS)
            os._exit(INTERRUPTED)
        request()

    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGTERM, handle)
