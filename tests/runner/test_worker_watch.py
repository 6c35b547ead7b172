"""A worker that stops answering is named, and is not waited for."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dask
import psutil
import pytest
from distributed import Client, LocalCluster

from mnist_ops.runner.workers import worker_watch
from mnist_ops.runner.workers.local import local_cluster

pytestmark = pytest.mark.slow


def test_silent_worker_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_watch, "UNRESPONSIVE_AFTER_S", 4.0)
    monkeypatch.setattr(worker_watch, "LOOK_EVERY_S", 0.5)
    lines: list[str] = []
    with _clustered(2) as client:
        watch = worker_watch.WorkerWatch(client, lines.append)
        both = watch.answering()
        worker = both[0]
        stopped = psutil.Process(client.run(_pid, workers=[worker])[worker])
        running = client.submit(time.sleep, 60, key="svm-mnist-0123", workers=[worker])
        while not client.processing([worker])[worker]:
            time.sleep(0.1)
        stopped.send_signal(signal.SIGSTOP)
        try:
            _look_until(watch, lambda: bool(lines))
            assert worker in lines[0]
            assert "svm-mnist" in lines[0]
            assert "0123" not in lines[0]
            assert watch.answering() == both[1:]
        finally:
            stopped.send_signal(signal.SIGCONT)
        _look_until(watch, lambda: not watch.workers)
        assert lines[1:] == [f"worker {worker} answers again"]
        assert watch.answering() == both
        running.cancel()


def test_a_local_worker_goes_on_after_a_suspension() -> None:
    # The least that Dask takes is five seconds.
    with (
        dask.config.set({"distributed.scheduler.worker-ttl": "1s"}),
        local_cluster(1, None, lambda line: None) as client,
    ):
        (pid,) = client.run(_pid).values()
        computing = client.submit(time.sleep, 1)
        worker = psutil.Process(pid)
        worker.suspend()
        time.sleep(12)
        worker.resume()
        assert computing.result(60) is None
        assert list(client.run(_pid).values()) == [pid]


def test_that_no_worker_is_left_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_watch, "LOOK_EVERY_S", 0.5)
    lines: list[str] = []
    with _clustered(1) as client:
        watch = worker_watch.WorkerWatch(client, lines.append)
        client.cluster.scale(0)
        _look_until(watch, lambda: bool(lines))
        assert lines == [
            "no worker is left: if none comes back, stop with Ctrl-C and run the same command"
        ]
        client.cluster.scale(1)
        client.wait_for_workers(1, timeout=60)
        time.sleep(1)
        watch.look()
        assert len(lines) == 1


@contextmanager
def _clustered(workers: int) -> Iterator[Client]:
    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        yield client


def _pid() -> int:
    return psutil.Process().pid


def _look_until(watch: worker_watch.WorkerWatch, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        watch.look()
        time.sleep(0.1)
