"""Where cells are computed: a local Dask cluster, a cluster that exists, or this process.

A CUDA cell goes to a worker with the Dask resource ``GPU``, one at a time on each: two cells
that share a device would each be timed wrong.
"""

import asyncio
import logging
import os
import queue
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from ctypes.util import find_library
from dataclasses import asdict
from functools import cache
from typing import Any, Protocol
from uuid import uuid4

import dask
import torch
from distributed import Client, Future, Nanny, Scheduler, SpecCluster, get_worker
from distributed.scheduler import KilledWorker

from mnist_ops import stopping, svm, tracking
from mnist_ops.cell import THREADS, CellContext, Outcome, Progress, compute, give_up
from mnist_ops.errors import MnistOpsError
from mnist_ops.trajectories import Trajectory

OnProgress = Callable[[Progress], None]
Say = Callable[[str], None]

GPU = "GPU"
# Dask runs what it is sent, so a cluster of this machine's own listens to this machine only.
LOOPBACK = "127.0.0.1"
START_TIMEOUT_S = 60
# A worker may be killed under a cell this often before the cell is held to be the cause.
ALLOWED_DEATHS = 2
_PROGRESS = "mnist-ops-progress"
_LINES = "mnist-ops-lines"
# How long cells may take to stop by themselves; a support vector machine does not in its middle.
STOP_PATIENCE_S = 10.0
_POLL_S = 0.2


class WorkersUnavailable(MnistOpsError):
    """There is nothing to compute on."""


class Pool(Protocol):
    """Computes cells."""

    has_cuda: bool

    def run(
        self,
        trajectories: Sequence[Trajectory],
        context: CellContext,
        on_progress: OnProgress,
        say: Say,
    ) -> Generator[Outcome]:
        """Compute every trajectory, and yield the outcome of each of its cells as it comes.

        Ends early where somebody asks to stop (see `stopping`): cells that run then are saved.
        """
        ...

    def flush(self, context: CellContext, timeout_s: float) -> int:
        """Have what was computed delivered; how many runs the store does not have after it."""
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
        self,
        trajectories: Sequence[Trajectory],
        context: CellContext,
        on_progress: OnProgress,
        say: Say,
    ) -> Generator[Outcome]:
        with stopping.heeded():
            for trajectory in trajectories:
                yield from compute(trajectory, context, on_progress, say)

    def flush(self, context: CellContext, timeout_s: float) -> int:
        return _flush(context, timeout_s)


class _DaskPool:
    """Computes cells on the workers of a Dask client."""

    def __init__(self, client: Callable[[], Client], stop: Callable[[], None], *, has_cuda: bool):
        """A pool of the workers behind `client`, of which `stop` ends those that are its own."""
        self._client = client
        self._stop = stop
        self._opened = False
        self.has_cuda = has_cuda

    def run(
        self,
        trajectories: Sequence[Trajectory],
        context: CellContext,
        on_progress: OnProgress,
        say: Say,
    ) -> Generator[Outcome]:
        if not trajectories:
            return
        client, self._opened = self._client(), True
        client.subscribe_topic(_PROGRESS, lambda event: on_progress(Progress(**event[1])))
        client.subscribe_topic(_LINES, lambda event: say(event[1]))
        ended: queue.SimpleQueue[Future] = queue.SimpleQueue()
        futures: dict[Future, Trajectory] = {}
        try:
            with stopping.heeded():
                for trajectory in trajectories:
                    future = _submit(client, trajectory, context)
                    futures[future] = trajectory
                    future.add_done_callback(ended.put)
                for future in self._until_all_ended(client, set(futures), ended, context):
                    yield from _outcomes(future, futures.pop(future), context, say)
            for trajectory in futures.values():
                yield from (Outcome(spec, "stopped") for spec in trajectory.cells)
        except BaseException:
            # A cancelled cell that runs already runs on: only its worker's end is its end.
            client.cancel(list(futures))
            self._stop()
            raise
        finally:
            if client.status == "running":
                client.unsubscribe_topic(_PROGRESS)
                client.unsubscribe_topic(_LINES)

    def flush(self, context: CellContext, timeout_s: float) -> int:
        if not self._opened or self._client().status != "running":
            return 0
        left = self._client().run(_flush_on_worker, context, timeout_s, on_error="ignore")
        return sum(count for count in left.values() if isinstance(count, int))

    def _until_all_ended(
        self,
        client: Client,
        running: set[Future],
        ended: "queue.SimpleQueue[Future]",
        context: CellContext,
    ) -> Iterator[Future]:
        """Each future as it ends; after a wish to stop those that end soon."""
        deadline: float | None = None
        while running:
            try:
                future = ended.get(timeout=_POLL_S)
            except queue.Empty:
                if deadline is None and stopping.requested():
                    deadline = time.monotonic() + STOP_PATIENCE_S
                    # Cells that have not begun see it too, and end at once.
                    client.run(stopping.request, context.grid, wait=False)
                elif deadline is not None and time.monotonic() > deadline:
                    client.cancel(list(running))
                    self._stop()
                    return
                continue
            running.discard(future)
            yield future


def _submit(client: Client, trajectory: Trajectory, context: CellContext) -> Future:
    on_cuda = trajectory.fitted.device == "cuda"
    return client.submit(
        _compute_on_worker,
        trajectory,
        context,
        # A key of its own each time: Dask would answer a key it knows from memory.
        key=f"{trajectory.fitted.name}-{uuid4().hex}",
        pure=False,
        resources={GPU: 1} if on_cuda else None,
        # A worker with a GPU takes what only it can do first, and then helps the others.
        priority=1 if on_cuda else 0,
    )


def _compute_on_worker(trajectory: Trajectory, context: CellContext) -> list[Outcome]:
    worker = get_worker()
    return compute(
        trajectory,
        context,
        lambda progress: worker.log_event(_PROGRESS, asdict(progress)),
        lambda line: worker.log_event(_LINES, line),
    )


def _flush(context: CellContext, timeout_s: float) -> int:
    courier = tracking.shared_tracker(context.address).courier
    courier.flush(timeout_s, insist=True)
    return courier.waiting


async def _flush_on_worker(context: CellContext, timeout_s: float) -> int:
    # Beside the worker's own business, which must go on.
    return await asyncio.to_thread(_flush, context, timeout_s)


def _outcomes(
    future: Future, trajectory: Trajectory, context: CellContext, say: Say
) -> list[Outcome]:
    error = future.exception()
    if error is None:
        outcomes: list[Outcome] = future.result()
        return outcomes
    if isinstance(error, KilledWorker):
        reason = (
            f"poisonous: its worker died {ALLOWED_DEATHS + 1} times, perhaps for lack of memory; "
            "try fewer --workers"
        )
        return give_up(trajectory, context, reason, say)
    return [Outcome(spec, "stopped", error=_one_line(error)) for spec in trajectory.cells]


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
