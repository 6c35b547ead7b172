"""Where cells are computed: a local Dask cluster, a cluster that exists, or this process.

A CUDA cell goes to a worker with the Dask resource ``GPU``, one at a time on each: two cells
that share a device would each be timed wrong.
"""

import logging
import os
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from ctypes.util import find_library
from dataclasses import asdict
from functools import cache
from typing import Any, Protocol
from uuid import uuid4

import dask
import torch
from distributed import Client, Future, Nanny, Scheduler, SpecCluster, as_completed, get_worker
from distributed.scheduler import KilledWorker

from mnist_ops import svm
from mnist_ops.cell import THREADS, CellContext, Outcome, Progress, compute
from mnist_ops.errors import MnistOpsError
from mnist_ops.trajectories import Trajectory

OnProgress = Callable[[Progress], None]

GPU = "GPU"
# Dask runs what it is sent, so a cluster of this machine's own listens to this machine only.
LOOPBACK = "127.0.0.1"
START_TIMEOUT_S = 60
# A worker may be killed under a cell this often before the cell is held to be the cause.
ALLOWED_DEATHS = 2
_TOPIC = "mnist-ops-progress"


class WorkersUnavailable(MnistOpsError):
    """There is nothing to compute on."""


class Pool(Protocol):
    """Computes cells."""

    has_cuda: bool

    def run(
        self, trajectories: Sequence[Trajectory], context: CellContext, on_progress: OnProgress
    ) -> Generator[Outcome]:
        """Compute every trajectory, and yield the outcome of each of its cells as it comes."""
        ...


@contextmanager
def open_pool(
    workers: int | None, scheduler: str | None, svm_memory_gb: float | None = None
) -> Iterator[Pool]:
    """Open the workers, and close what was opened for it.

    Args:
        workers: local processes of one thread each; None is one a core, 0 is this process.
        scheduler: address of a Dask scheduler (``tcp://…``) to use instead; None for none.
        svm_memory_gb: what the local processes may use together for support vector machines; None
            is their default. Workers of a cluster have an environment of their own.

    Raises:
        WorkersUnavailable: the scheduler does not answer, or has no workers.
    """
    with ExitStack() as stack:
        if scheduler:
            client = stack.enter_context(_existing_cluster(scheduler))
            workers_now = client.scheduler_info(n_workers=-1)["workers"].values()
            has_cuda = any(worker["resources"].get(GPU) for worker in workers_now)
            yield _DaskPool(lambda: client, lambda: None, has_cuda=has_cuda)
        elif workers == 0:
            os.environ |= svm.worker_environment(1, svm_memory_gb)
            yield _InProcess()
        else:
            count = workers or usable_cores()
            # Started at the first cell: where every cell is finished already, none is.
            start = cache(lambda: stack.enter_context(_local_cluster(count, svm_memory_gb)))
            yield _DaskPool(start, stack.close, has_cuda=torch.cuda.is_available())


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _InProcess:
    """Computes one cell after the other right here, where a debugger can follow."""

    def __init__(self) -> None:
        self.has_cuda = torch.cuda.is_available()

    def run(
        self, trajectories: Sequence[Trajectory], context: CellContext, on_progress: OnProgress
    ) -> Generator[Outcome]:
        for trajectory in trajectories:
            yield from compute(trajectory, context, on_progress)


class _DaskPool:
    """Computes cells on the workers of a Dask client."""

    def __init__(self, client: Callable[[], Client], stop: Callable[[], None], *, has_cuda: bool):
        """A pool of the workers behind `client`, of which `stop` ends those that are its own."""
        self._client = client
        self._stop = stop
        self.has_cuda = has_cuda

    def run(
        self, trajectories: Sequence[Trajectory], context: CellContext, on_progress: OnProgress
    ) -> Generator[Outcome]:
        if not trajectories:
            return
        client = self._client()
        client.subscribe_topic(_TOPIC, lambda event: on_progress(Progress(**event[1])))
        futures = {_submit(client, each, context): each for each in trajectories}
        try:
            for future in as_completed(futures):
                yield from _outcomes(future, futures[future])
            client.unsubscribe_topic(_TOPIC)
        except BaseException:
            # A cancelled cell that runs already runs on: only its worker's end is its end.
            client.cancel(list(futures))
            self._stop()
            raise


def _submit(client: Client, trajectory: Trajectory, context: CellContext) -> Future:
    return client.submit(
        _compute_on_worker,
        trajectory,
        context,
        # A key of its own each time: Dask would answer a key it knows from memory.
        key=f"{trajectory.fitted.name}-{uuid4().hex}",
        pure=False,
        resources={GPU: 1} if trajectory.fitted.device == "cuda" else None,
    )


def _compute_on_worker(trajectory: Trajectory, context: CellContext) -> list[Outcome]:
    worker = get_worker()
    return compute(trajectory, context, lambda progress: worker.log_event(_TOPIC, asdict(progress)))


def _outcomes(future: Future, trajectory: Trajectory) -> list[Outcome]:
    error = future.exception()
    if error is None:
        outcomes: list[Outcome] = future.result()
        return outcomes
    if isinstance(error, KilledWorker):
        reason = (
            f"its worker died {ALLOWED_DEATHS + 1} times, perhaps for lack of memory; "
            "try fewer --workers"
        )
    else:
        reason = _one_line(error)
    return [Outcome(spec, error=reason) for spec in trajectory.cells]


@contextmanager
def _local_cluster(workers: int, svm_memory_gb: float | None) -> Iterator[Client]:
    def options(number: int) -> dict[str, Any]:
        return {
            "nthreads": THREADS,
            # Dask would pause a worker at a share of its memory that torch alone may take.
            "memory_limit": 0,
            "silence_logs": logging.CRITICAL,
            "dashboard": False,
            "host": LOOPBACK,
            "resources": {GPU: 1} if number == 0 and torch.cuda.is_available() else {},
        }

    settings = {
        "distributed.scheduler.allowed-failures": ALLOWED_DEATHS,
        "distributed.nanny.pre-spawn-environ": _environment()
        | svm.worker_environment(workers, svm_memory_gb),
    }
    with (
        dask.config.set(settings),
        SpecCluster(
            scheduler={
                "cls": Scheduler,
                "options": {"dashboard": False, "dashboard_address": ":0", "host": LOOPBACK},
            },
            workers={n: {"cls": Nanny, "options": options(n)} for n in range(workers)},
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(workers, timeout=START_TIMEOUT_S)
        yield client


def _environment() -> dict[str, str]:
    """Variables of a worker that only count when they are set before its process starts."""
    threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    variables = dict.fromkeys(threads, str(THREADS)) | {
        # Dask has glibc give freed memory back at once, so that a training spends more time on
        # page faults than on arithmetic. Here it is kept: a training asks for it again each step.
        "MALLOC_TRIM_THRESHOLD_": str(2**32),
        "MALLOC_MMAP_THRESHOLD_": str(2**25),
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


@contextmanager
def _existing_cluster(address: str) -> Iterator[Client]:
    try:
        client = Client(address, timeout=10)
    except (OSError, ValueError) as error:
        raise WorkersUnavailable(
            f"no Dask scheduler answers at {address} ({_one_line(error)}): start one with "
            "`dask scheduler`, or leave --scheduler out"
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=START_TIMEOUT_S)
        except TimeoutError:
            raise WorkersUnavailable(
                f"the Dask scheduler at {address} has no workers: start some with "
                f"`dask worker {address} --nthreads 1`"
            ) from None
        try:
            client.run(usable_cores)
        except Exception as error:
            raise WorkersUnavailable(
                f"the workers of {address} cannot load mnist-ops ({_one_line(error)}): install "
                "the same version of it there"
            ) from None
        yield client


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
