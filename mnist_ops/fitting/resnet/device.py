"""The stream and the clock of one training on its device."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Streams of trainings that have ended, used again: there are only `cuda.MAX_STREAMS`.
_free: list[torch.cuda.Stream] = []


@contextmanager
def own_stream(device: torch.device) -> Iterator[None]:
    """Compute in a CUDA stream of this thread's own, beside the streams of other threads.

    All work of the stream has ended when the block ends; on a CPU nothing changes.
    """
    if device.type != "cuda":
        yield
        return
    try:
        stream = _free.pop()
    except IndexError:
        stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    try:
        with torch.cuda.stream(stream):
            yield
    finally:
        # Whoever gets this stream next may reuse the memory that is freed here, so that nothing of
        # it may still be computing.
        stream.synchronize()
        _free.append(stream)


class Clock:
    """A stopwatch of ``with`` blocks, which waits for this thread's work at both ends.

    Attributes:
        seconds: so far.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._synchronise()
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._synchronise()
        self.seconds += time.perf_counter() - self._start

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out what happens in the middle of a ``with`` block."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()

    def _synchronise(self) -> None:
        if self.device.type == "cuda":
            # Not the whole device: other threads may be training on it.
            torch.cuda.current_stream(self.device).synchronize()
