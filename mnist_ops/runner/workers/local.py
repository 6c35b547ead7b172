"""Workers on this machine: one process a core, each set up before it starts.

One of them has the CUDA device, if there is one, and as many threads as trainings may share it.

What only counts before a process starts, its threads and its allocator, goes into its environment;
what only it can do for itself, `start` does when it has begun.
"""

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from ctypes.util import find_library
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import dask
import psutil
import torch
from distributed import Client, Nanny, Scheduler, SpecCluster

from mnist_ops.core import cancellation
from mnist_ops.core.errors import InvalidInput, Stopped
from mnist_ops.fitting import svm
from mnist_ops.runner.task import THREADS
from mnist_ops.runner.workers import start
from mnist_ops.runner.workers.pool import ALLOWED_FAILURES, CORE, GPU, WorkersUnavailable, one_line

# Dask runs what it is sent, so a cluster of this machine's own listens to this machine only.
LOOPBACK = "127.0.0.1"
START_TRIES = 3
_POLL_S = 0.1


def usable_cores() -> list[int]:
    """The cores that this process may run on, by number."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


@contextmanager
def local_cluster(
    workers: int, svm_memory_gb: float | None, log: Callable[[str], None], streams: int = 1
) -> Iterator[Client]:
    """Start `workers` processes, and end them at the end.

    Args:
        workers: how many; as many as there are cores get a core each.
        svm_memory_gb: what they may use together for support vector machines; None is the default.
        log: gets lines for people: that they start, and where Dask shows what they do.
        streams: cells that may share the CUDA device.
    """
    _check_guard()
    log(f"Starting {workers} worker {'process' if workers == 1 else 'processes'}.")
    cores = usable_cores()

    def options(number: int) -> dict[str, Any]:
        has_device = number == 0 and torch.cuda.is_available()
        threads = streams if has_device else 1
        # Fewer workers than cores are left to the system, as another grid may run beside; and so
        # is one whose threads all feed a device.
        is_pinned = workers == len(cores) and threads == 1
        return {
            "preload": [start.__name__],
            "env": {start.CORE: str(cores[number])} if is_pinned else {},
            "nthreads": threads,
            # Dask would pause a worker at a share of its memory that torch alone may take.
            "memory_limit": 0,
            "silence_logs": logging.CRITICAL,
            "dashboard": False,
            "host": LOOPBACK,
            "resources": {CORE: 1} | ({GPU: 1} if has_device else {}),
        }

    settings = {
        "distributed.scheduler.allowed-failures": ALLOWED_FAILURES,
        "distributed.nanny.pre-spawn-environ": _environment()
        | svm.worker_environment(workers, svm_memory_gb),
    }
    nannies = {n: {"cls": Nanny, "options": options(n)} for n in range(workers)}
    with (
        dask.config.set(settings),
        _started(nannies) as cluster,
        Client(cluster) as client,
    ):
        log(f"Dask dashboard: {client.dashboard_link}")
        yield client


def _started(nannies: dict[int, dict[str, Any]]) -> SpecCluster:
    """Return a cluster whose workers have all started; one that ends meanwhile is started again.

    Raises:
        Stopped: cancelled before they have started.
        WorkersUnavailable: they end again and again.
    """

    def begin() -> SpecCluster:
        return SpecCluster(
            scheduler={
                "cls": Scheduler,
                "options": {"dashboard_address": f"{LOOPBACK}:0", "host": LOOPBACK},
            },
            workers=nannies,
            silence_logs=logging.CRITICAL,
        )

    for tries_left in reversed(range(START_TRIES)):
        try:
            return _unless_stopped(begin)
        except (RuntimeError, OSError, TimeoutError) as error:
            if not tries_left:
                raise WorkersUnavailable(
                    f"the worker processes do not start ({one_line(error)}): is there memory and "
                    "disk? --workers 0 computes without them"
                ) from error
    raise AssertionError("there is at least one try")


def _unless_stopped(begin: Callable[[], SpecCluster]) -> SpecCluster:
    """Return the cluster that `begin` starts; end its processes where somebody asks to stop.

    A terminal sends Ctrl-C to them, too. One that is still importing would print a traceback, so
    the signal is blocked in them until they ignore it.

    Raises:
        Stopped: somebody asked to stop.
    """
    # Its start would unblock the signal in the thread that first starts a process.
    resource_tracker.ensure_running()
    this = psutil.Process()
    others = set(this.children())
    with ThreadPoolExecutor(1, initializer=_block_interrupts) as thread:
        starting = thread.submit(begin)
        while not wait([starting], _POLL_S).done:
            if cancellation.requested():
                for process in set(this.children()) - others:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
    if cancellation.requested():
        if not starting.exception():
            starting.result().close()
        raise Stopped("interrupted")
    return starting.result()


def _block_interrupts() -> None:
    """Block Ctrl-C in this thread, and in the threads and processes that it starts."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def _check_guard() -> None:
    """Refuse a script that worker processes, which import it, would run once more.

    Raises:
        InvalidInput: it has no ``__main__`` guard.
    """
    file = getattr(sys.modules["__main__"], "__file__", None)
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if file and "__main__" not in Path(file).read_text(encoding="utf-8"):
            raise InvalidInput(
                f"{file} would run again in each worker process, which imports it: put what it "
                'does under `if __name__ == "__main__":`, or use 0 workers'
            )


def _environment() -> dict[str, str]:
    """Variables of a worker that only count when they are set before its process starts."""
    threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    variables = dict.fromkeys(threads, str(THREADS)) | {
        # Dask has glibc give freed memory back at once, so that a training spends more time on
        # page faults than on arithmetic. Here it is kept: a training asks for it again each step.
        "MALLOC_TRIM_THRESHOLD_": str(2**32),
        "MALLOC_MMAP_THRESHOLD_": str(2**25),
        # What one thread has freed is to be had again by the one that computes.
        "MALLOC_ARENA_MAX": "1",
    }
    if (allocator := fast_allocator()) is not None:
        others = os.environ.get("LD_PRELOAD", "").split()
        variables["LD_PRELOAD"] = " ".join(dict.fromkeys([*others, allocator]))
    return variables


def fast_allocator() -> str | None:
    """The library of an allocator that trains faster than the system's, if one is installed."""
    if sys.platform != "linux":
        return None
    return find_library("tcmalloc_minimal") or find_library("tcmalloc")
