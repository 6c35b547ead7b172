"""Compute fit groups on the workers of a Dask client, or in this process.

A CUDA cell goes to a worker with the Dask resource ``GPU``, by default one at a time, since cells
that share a device have wrong times. Cells that do share one run in threads of its worker.
"""

import asyncio
import queue
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import astuple
from typing import Protocol
from uuid import uuid4

from distributed import Client, Future, get_worker
from distributed.scheduler import KilledWorker

from mnist_ops import tracking
from mnist_ops.core import cancellation, cuda
from mnist_ops.core.errors import MnistOpsError, Stopped, one_line
from mnist_ops.runner.fit_groups import FitGroup
from mnist_ops.runner.task import CellContext, Outcome, Progress, compute, give_up
from mnist_ops.runner.workers.worker_watch import WorkerWatch

OnProgress = Callable[[Progress], None]
Log = Callable[[str], None]

# Dask resources: a CUDA device; a core, for workers with more threads than cores.
GPU = "GPU"
CORE = "CORE"
# Slightly below 1, so that rounding cannot make the shares exceed the device.
_SHARE = 1 - 1e-6
START_TIMEOUT_S = 60
# After more worker losses than this during a cell, the cell is considered the cause.
ALLOWED_FAILURES = 2
_PROGRESS = "mnist-ops-progress"
LINES = "mnist-ops-lines"
# Time for cells to stop by themselves; a running SVM fit cannot.
STOP_PATIENCE_S = 10.0
_POLL_S = 0.2


class WorkersUnavailable(MnistOpsError):
    """There is nothing to compute on."""


class Pool(Protocol):
    """Computes cells."""

    has_cuda: bool

    def run(
        self,
        groups: Sequence[FitGroup],
        context: CellContext,
        on_progress: OnProgress,
        log: Log,
    ) -> Generator[Outcome]:
        """Compute every group; yield the outcome of each cell as it ends.

        On cancellation (see `cancellation`) end early, after running cells saved their state.
        """
        ...

    def flush(self, context: CellContext, timeout_s: float) -> Counter[str]:
        """Upload the runs of other processes of the pool.

        Returns:
            Reason why runs are pending -> their number.
        """
        ...


class InProcess:
    """Computes one group after the other in this process, for example for a debugger."""

    def __init__(self) -> None:
        self.has_cuda = cuda.is_available()

    def run(
        self,
        groups: Sequence[FitGroup],
        context: CellContext,
        on_progress: OnProgress,
        log: Log,
    ) -> Generator[Outcome]:
        """As `Pool.run`."""
        for group in groups:
            yield from compute(group, context, on_progress, log)

    def flush(self, context: CellContext, timeout_s: float) -> Counter[str]:
        """Return an empty counter, as there are no other processes."""
        return Counter()


class DaskPool:
    """Computes cells on the workers of a Dask client."""

    def __init__(
        self,
        client: Callable[[], Client],
        stop: Callable[[], None],
        *,
        has_cuda: bool,
        counts_cores: bool = False,
    ):
        """Use the workers of a Dask client.

        Args:
            client: returns the client; called at the first cell.
            stop: ends the workers if they belong to the pool.
            has_cuda: whether a worker has a CUDA device.
            counts_cores: whether CPU cells need the resource `CORE` of workers.
        """
        self._client = client
        self._stop = stop
        self._worker_watch: WorkerWatch | None = None
        self._for_cpu = {CORE: 1.0} if counts_cores else None
        self.has_cuda = has_cuda

    def run(
        self,
        groups: Sequence[FitGroup],
        context: CellContext,
        on_progress: OnProgress,
        log: Log,
    ) -> Generator[Outcome]:
        """As `Pool.run`."""
        if not groups:
            return
        try:
            client = self._client()
        except Stopped:
            yield from (Outcome(spec, "stopped") for each in groups for spec in each.cells)
            return
        worker_watch = self._worker_watch = WorkerWatch(client, log)
        client.subscribe_topic(_PROGRESS, lambda event: on_progress(Progress(*event[1])))
        client.subscribe_topic(LINES, lambda event: log(event[1]))
        ended: queue.SimpleQueue[Future] = queue.SimpleQueue()
        futures: dict[Future, FitGroup] = {}
        try:
            for group in groups:
                future = self._submit(client, group, context)
                futures[future] = group
                future.add_done_callback(ended.put)
            for future in self._until_all_ended(client, worker_watch, set(futures), ended, context):
                yield from _outcomes(future, futures.pop(future), context, log)
            for group in futures.values():
                yield from (Outcome(spec, "stopped") for spec in group.cells)
        except BaseException:
            # Dask cannot cancel a running cell, so its worker is ended.
            client.cancel(list(futures))
            self._stop()
            raise
        finally:
            if client.status == "running":
                client.unsubscribe_topic(_PROGRESS)
                client.unsubscribe_topic(LINES)

    def flush(self, context: CellContext, timeout_s: float) -> Counter[str]:
        """As `Pool.flush`."""
        if self._worker_watch is None or self._client().status != "running":
            return Counter()
        self._worker_watch.look()
        # Only answering workers: the call would wait for the others.
        answers = self._client().run(
            _flush_on_worker,
            context,
            timeout_s,
            workers=self._worker_watch.answering(),
            on_error="ignore",
        )
        pending = (found for found in answers.values() if isinstance(found, Counter))
        return sum(pending, Counter[str]())

    def _submit(self, client: Client, group: FitGroup, context: CellContext) -> Future:
        on_cuda = group.fitted.device == "cuda"
        return client.submit(
            _compute_on_worker,
            group,
            context,
            # A new key each time: Dask would return the cached result of a known one.
            key=f"{group.fitted.name}-{uuid4().hex}",
            pure=False,
            resources={GPU: _SHARE / context.streams} if on_cuda else self._for_cpu,
            # A worker with a GPU computes CUDA cells first.
            priority=1 if on_cuda else 0,
        )

    def _until_all_ended(
        self,
        client: Client,
        worker_watch: WorkerWatch,
        running: set[Future],
        ended: "queue.SimpleQueue[Future]",
        context: CellContext,
    ) -> Iterator[Future]:
        """Yield each future as it ends; after a cancellation only those that end in time."""
        deadline: float | None = None
        while running:
            try:
                future = ended.get(timeout=_POLL_S)
            except queue.Empty:
                worker_watch.look()
                if deadline is None and cancellation.requested():
                    deadline = time.monotonic() + STOP_PATIENCE_S
                    # Cells that have not started check it, too, and end at once.
                    client.run(
                        cancellation.request,
                        context.grid,
                        workers=worker_watch.answering(),
                        on_error="ignore",
                    )
                elif deadline is not None and time.monotonic() > deadline:
                    client.cancel(list(running))
                    self._stop()
                    return
                continue
            running.discard(future)
            yield future


def _compute_on_worker(group: FitGroup, context: CellContext) -> list[Outcome]:
    worker = get_worker()
    return compute(
        group,
        context,
        # A tuple: Dask modifies dictionaries.
        lambda progress: worker.log_event(_PROGRESS, astuple(progress)),
        lambda line: worker.log_event(LINES, line),
    )


async def _flush_on_worker(context: CellContext, timeout_s: float) -> Counter[str]:
    uploader = tracking.shared_tracker(context.address).uploader
    # In a thread, so that the worker keeps answering the scheduler.
    await asyncio.to_thread(uploader.flush, timeout_s, retry=True)
    return uploader.pending


def _outcomes(future: Future, group: FitGroup, context: CellContext, log: Log) -> list[Outcome]:
    error = future.exception()
    if error is None:
        outcomes: list[Outcome] = future.result()
        return outcomes
    if isinstance(error, KilledWorker):
        reason = (
            f"its worker process ended {ALLOWED_FAILURES + 1} times, possibly out of memory: use "
            "fewer --workers"
        )
        return give_up(group, context, reason, log)
    return [Outcome(spec, "stopped", error=one_line(error)) for spec in group.cells]
