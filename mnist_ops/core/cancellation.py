"""Process-wide cancellation flag.

A training checks it between two steps, so that the state that it saves is complete.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# The exit code of a command that was interrupted.
INTERRUPTED = 130

_LAST_WORDS = (
    b"\nmnist-ops: stopped at once. Saved work is kept; run the same command to continue.\n"
)
_EVERY_GRID = ""
_requested: set[str] = set()
# Whether code runs here that checks the flag.
_cooperating = threading.Event()


def request(grid: str = _EVERY_GRID) -> None:
    """Ask the work of `grid` in this process, or of every grid, to stop after the current step."""
    _requested.add(grid)


def requested(grid: str = _EVERY_GRID) -> bool:
    """Return whether `grid` was asked to stop."""
    return not _requested.isdisjoint((grid, _EVERY_GRID))


def reset() -> None:
    """Clear every request, before new work begins."""
    _requested.clear()


@contextmanager
def cooperative() -> Iterator[None]:
    """Have signals set the flag within the block; outside it they interrupt at once."""
    _cooperating.set()
    try:
        yield
    finally:
        _cooperating.clear()


def on_signals() -> None:
    """Handle Ctrl-C and SIGTERM as requests to stop; a second Ctrl-C ends the process at once."""

    def handle(number: int, frame: FrameType | None) -> None:
        if not _cooperating.is_set():
            raise KeyboardInterrupt
        if requested() and number == signal.SIGINT:
            # Saved work is on disk, and the next start ends the runs that stay open.
            os.write(2, _LAST_WORDS)
            os._exit(INTERRUPTED)
        request()

    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGTERM, handle)


def exit_at_once_on_signals() -> None:
    """End this process at once at Ctrl-C or SIGTERM: for its exit, when its work is done."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(INTERRUPTED))
