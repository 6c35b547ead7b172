"""Process-wide cancellation flag.

A training checks it between two steps, so that the state that it saves is complete.
"""

import os
import signal
import sys
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
# Time until a discarded interrupt is sent again.
_AGAIN_S = 0.05
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


@contextmanager
def interrupts_sent_again() -> Iterator[None]:
    """Send an interrupt again that was raised where Python discards exceptions.

    Python discards them in finalizers and in callbacks of weak references (see
    `sys.unraisablehook`): the process would print a traceback and go on.
    """
    previous = sys.unraisablehook

    def send_again(discarded: "sys.UnraisableHookArgs") -> None:
        if not issubclass(discarded.exc_type, KeyboardInterrupt):
            previous(discarded)
            return
        again = threading.Timer(_AGAIN_S, os.kill, (os.getpid(), signal.SIGINT))
        again.daemon = True
        again.start()

    sys.unraisablehook = send_again
    try:
        yield
    finally:
        sys.unraisablehook = previous


def exit_at_once_on_signals() -> None:
    """End this process at once at Ctrl-C or SIGTERM: for its exit, when its work is done."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(INTERRUPTED))
