"""Compute cells in worker processes of this machine, on a Dask cluster, or in this process."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache

from mnist_ops.core import cuda, instruction_set
from mnist_ops.fitting import svm
from mnist_ops.runner.workers.local import local_cluster, usable_cores
from mnist_ops.runner.workers.pool import GPU, DaskPool, InProcess, Pool, WorkersUnavailable
from mnist_ops.runner.workers.remote import Needs, existing_cluster

__all__ = ["Needs", "Pool", "WorkersUnavailable", "open_pool"]


@contextmanager
def open_pool(
    workers: int | None,
    scheduler: str | None,
    needs: Needs,
    svm_memory_gb: float | None = None,
    log: Callable[[str], None] = lambda line: None,
    streams: int = 1,
    instructions: str = instruction_set.AUTO,
    modules: Sequence[str] = (),
) -> Iterator[Pool]:
    """Open a pool of workers, and close it at the end of the block.

    Args:
        workers: number of local processes, of one thread each; None is one per core, 0 computes in
            this process.
        scheduler: address of a Dask scheduler (``tcp://…``) to use instead of local processes.
        needs: requirements on the workers of a cluster.
        svm_memory_gb: memory in GB that all local processes together may use for support vector
            machines; None is their default. Workers of a cluster have their own setting.
        log: gets lines for the user.
        streams: number of cells that may share a CUDA device. On a cluster, the worker with the
            device needs as many threads.
        instructions: the instruction set of local processes, ``auto`` or one that the CPU has.
        modules: what local processes will import.

    Raises:
        InvalidInput: the CPU lacks the instruction set, or this process has begun with another.
        WorkersUnavailable: the scheduler does not answer, has no workers, or one lacks something.
    """
    with ExitStack() as stack:
        if scheduler:
            client = stack.enter_context(existing_cluster(scheduler, needs))
            workers_now = client.scheduler_info(n_workers=-1)["workers"].values()
            has_cuda = any(worker["resources"].get(GPU) for worker in workers_now)
            yield DaskPool(lambda: client, lambda: None, has_cuda=has_cuda)
        elif workers == 0:
            instruction_set.require(instructions)
            os.environ |= svm.worker_environment(1, svm_memory_gb)
            yield InProcess()
        else:
            count = workers or len(usable_cores())
            # Started at the first cell, so never if all cells are finished already.
            start = cache(
                lambda: stack.enter_context(
                    local_cluster(count, svm_memory_gb, log, streams, instructions, modules)
                )
            )
            has_cuda = cuda.is_available()
            yield DaskPool(
                start, stack.close, has_cuda=has_cuda, counts_cores=has_cuda and streams > 1
            )
