"""The settings of torch under which a fit gives the same numbers again."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

# The rounding of parallel sums depends on the number of threads. One thread everywhere keeps a
# cell reproducible with any number of workers.
THREADS = 1


class _Settings:
    """The settings of the process before its first thread changed them, and how many use ours."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.before = 0, False


_settings = _Settings()


@contextmanager
def reproducible(threads: int) -> Iterator[None]:
    """Compute on `threads` CPU threads with deterministic kernels, then restore the settings.

    Sums over threads depend on how many there are, so a fit is only the same again on as many.
    Where several threads are in such a block, the last to leave restores.
    """
    # The main process needs the number alone, and torch takes seconds to import.
    import torch

    with _settings.lock:
        if not _settings.users:
            _settings.before = torch.get_num_threads(), torch.backends.cudnn.deterministic
        _settings.users += 1
        # Of the calling thread, beside the process.
        torch.set_num_threads(threads)
        torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        with _settings.lock:
            _settings.users -= 1
            if not _settings.users:
                torch.set_num_threads(_settings.before[0])
                torch.backends.cudnn.deterministic = _settings.before[1]
