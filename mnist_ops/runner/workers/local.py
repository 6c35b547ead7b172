"""Start worker processes on this machine, one per core.

One of them gets the CUDA device, if there is one, and a thread for each training that may share it.
The environment of a worker sets what must be known before the process starts, its numbers of
threads and its allocator; `start` does the rest within the process.

Where it can be, workers are forks of one process that has imported what they need: imports take
seconds and half a gigabyte, which are then spent once.
"""

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from typing import Any

import dask
import psutil
from distributed import Client, Nanny, Scheduler, SpecCluster
from distributed.utils import get_mp_context

from mnist_ops.core import cancellation, cuda, instruction_set
from mnist_ops.core.errors import Stopped, one_line
from mnist_ops.core.main_module import main_not_imported
from mnist_ops.fitting import svm
from mnist_ops.fitting.determinism import THREADS
from mnist_ops.runner.allocator import fast_allocator
from mnist_ops.runner.workers import start
from mnist_ops.runner.workers.pool import ALLOWED_FAILURES, CORE, GPU, WorkersUnavailable

# Dask executes any code that it is sent, so a local cluster listens on the loopback device only.
LOOPBACK = "127.0.0.1"
START_TRIES = 3
_POLL_S = 0.1
# Dask's setting of how processes start, and Python's variable that keeps the folder out of imports.
_METHOD = "distributed.worker.multiprocessing-method"
_SAFE_PATH = "PYTHONSAFEPATH"


def usable_cores() -> list[int]:
    """Return the numbers of the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


@contextmanager
def local_cluster(
    workers: int,
    svm_memory_gb: float | None,
    log: Callable[[str], None],
    streams: int = 1,
    instructions: str = instruction_set.AUTO,
    modules: Sequence[str] = (),
) -> Iterator[Client]:
    """Start `workers` processes, and end them with the block.

    Args:
        workers: their number; if it is that of the cores, each gets a core.
        svm_memory_gb: memory in GB that they may use together for support vector machines; None is
            the default.
        log: gets lines for the user: the start, and the address of the Dask dashboard.
        streams: number of cells that may share the CUDA device.
        instructions: the instruction set, ``auto`` or one that the CPU has.
        modules: what the workers will import.
    """
    log(f"Starting {workers} worker {'process' if workers == 1 else 'processes'}.")
    cores = usable_cores()
    # Not set before the start, since Dask would set it in this process as well.
    variables = instruction_set.environment(instructions)
    forks = _can_fork(variables)
    # The process that they are forked from has another value than this one.
    variables |= {_SAFE_PATH: os.environ.get(_SAFE_PATH, "")} if forks else {}
    variables |= svm.worker_environment(workers, svm_memory_gb)

    def options(number: int) -> dict[str, Any]:
        has_device = number == 0 and cuda.is_available()
        threads = streams if has_device else 1
        # Fewer workers than cores are not pinned, as another grid may use the other cores; nor is
        # a worker with several threads for a device.
        is_pinned = workers == len(cores) and threads == 1
        return {
            "preload": [start.__name__],
            "env": variables | ({start.CORE: str(cores[number])} if is_pinned else {}),
            "nthreads": threads,
            # Off: Dask would pause a worker at a memory use that is normal for torch.
            "memory_limit": 0,
            "silence_logs": logging.CRITICAL,
            "dashboard": False,
            "host": LOOPBACK,
            "resources": {CORE: 1} | ({GPU: 1} if has_device else {}),
        }

    settings = {
        "distributed.scheduler.allowed-failures": ALLOWED_FAILURES,
        # After a suspension Dask would restart them all, within 30 s or not at all. A process that
        # dies is noticed without.
        "distributed.scheduler.worker-ttl": None,
        "distributed.nanny.pre-spawn-environ": environment(),
        _METHOD: "forkserver" if forks else "spawn",
    }
    nannies = {n: {"cls": Nanny, "options": options(n)} for n in range(workers)}
    with (
        dask.config.set(settings),
        main_not_imported(),
        _ending_fork_server() if forks else contextlib.nullcontext(),
        _started(nannies, modules if forks else None) as cluster,
        Client(cluster) as client,
    ):
        log(f"Dask dashboard: {client.dashboard_link}")
        yield client


def _can_fork(variables: Mapping[str, str]) -> bool:
    """Return whether workers can be forks of a process that has imported their modules.

    Args:
        variables: of the instruction set; libraries read them as they are imported.
    """
    # Libraries of other systems may not survive a fork, and what has seen a CUDA device does not. A
    # fork server that is there already has the environment that its starter wanted.
    can_be_forked = sys.platform == "linux" and not cuda.is_available()
    return can_be_forked and not variables and not _fork_servers()


@contextmanager
def _ending_fork_server() -> Iterator[None]:
    """End, with the block, the process that workers are forked from, if it starts within."""
    try:
        yield
    finally:
        # Another cluster may need another environment, and a notebook the memory.
        for server in _fork_servers():
            with contextlib.suppress(psutil.NoSuchProcess, ChildProcessError):
                server.kill()
                # Not reaped: multiprocessing does that before it starts another.
                os.waitid(os.P_PID, server.pid, os.WEXITED | os.WNOWAIT)
        # Python's own list, for whoever else starts one.
        multiprocessing.set_forkserver_preload(["__main__"])


def _start_fork_server(modules: Sequence[str]) -> None:
    """Start the process that workers are forked from; spawn them where it cannot be started."""
    # By Dask's context, which at its first use sets a list of its own.
    get_mp_context().set_forkserver_preload([start.__name__])
    # A file of the user's folder must not take the place of a module.
    only_there = {start.IMPORTS: " ".join(modules), _SAFE_PATH: "1"}
    before = {name: os.environ[name] for name in only_there if name in os.environ}
    # The rest Dask sets here as well, when it starts a worker.
    os.environ |= environment() | only_there
    try:
        forkserver.ensure_running()
    # Its socket is in the folder for temporary files, whose name may be too long.
    except OSError:
        dask.config.set({_METHOD: "spawn"})
    finally:
        for name in only_there:
            del os.environ[name]
        os.environ |= before


def _fork_servers() -> set[psutil.Process]:
    """Return the processes that fork others for this one: at most one."""
    found = set()
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if forkserver.__name__ in " ".join(child.cmdline()):
                found.add(child)
    return found


def _started(nannies: dict[int, dict[str, Any]], modules: Sequence[str] | None) -> SpecCluster:
    """Return a cluster whose workers have all started, after several tries if need be.

    Args:
        nannies: how to start them.
        modules: what is imported before they are forked; None if they are spawned.

    Raises:
        Stopped: the user cancelled the start.
        WorkersUnavailable: the workers did not start.
    """

    def begin() -> SpecCluster:
        if modules is not None:
            _start_fork_server(modules)
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
                    f"the worker processes do not start ({one_line(error)}): free memory and disk "
                    "space, or use --workers 0"
                ) from error
    raise AssertionError("there is at least one try")


def _unless_stopped(begin: Callable[[], SpecCluster]) -> SpecCluster:
    """Return the cluster that `begin` starts; on cancellation end its processes.

    A terminal sends Ctrl-C to them as well. A process that is still importing would print a
    traceback, so the signal is blocked until the process ignores it.

    Raises:
        Stopped: the user cancelled the start.
    """
    # Started here: its start unblocks the signal in the thread that starts the first process.
    resource_tracker.ensure_running()
    this = psutil.Process()
    others = set(this.children(recursive=True))
    with ThreadPoolExecutor(1, initializer=_block_interrupts) as thread:
        starting = thread.submit(begin)
        while not wait([starting], _POLL_S).done:
            if cancellation.requested():
                for process in set(this.children(recursive=True)) - others:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
    if cancellation.requested():
        if not starting.exception():
            starting.result().close()
        raise Stopped("interrupted")
    return starting.result()


def _block_interrupts() -> None:
    """Block Ctrl-C in this thread and in the threads and processes that it starts."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def environment() -> dict[str, str]:
    """Return the variables that must be set before a worker process starts."""
    threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    variables = dict.fromkeys(threads, str(THREADS)) | {
        # Dask makes glibc return freed memory at once, so that a training spends more time on page
        # faults than on arithmetic. Here memory is kept, as each step allocates it again.
        "MALLOC_TRIM_THRESHOLD_": str(2**32),
        "MALLOC_MMAP_THRESHOLD_": str(2**25),
        # One arena: memory freed by one thread can be reused by another.
        "MALLOC_ARENA_MAX": "1",
    }
    if (allocator := fast_allocator()) is not None:
        others = os.environ.get("LD_PRELOAD", "").split()
        variables["LD_PRELOAD"] = " ".join(dict.fromkeys([*others, allocator]))
    return variables
