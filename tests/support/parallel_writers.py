"""Many processes that write cells into one store at once, as the workers of a large grid do."""

import multiprocessing
import time
from multiprocessing.synchronize import Barrier

import tracked_runs

from mnist_ops import tracking

START_LIMIT_S = 300


def write(store: str, writers: int, runs: int, study: str = "scale") -> float:
    """`runs` cells of `study` from each of `writers` processes; runs a second, all together."""
    context = multiprocessing.get_context("forkserver")
    # They share what takes each of them seconds and 300 MB to load.
    context.set_forkserver_preload(["mnist_ops.tracking"])
    ready = context.Barrier(writers + 1)
    processes = [
        context.Process(target=_write, args=(store, study, writer, runs, ready))
        for writer in range(writers)
    ]
    for process in processes:
        process.start()
    ready.wait(START_LIMIT_S)
    start = time.monotonic()
    for process in processes:
        process.join()
    taken = time.monotonic() - start
    codes = [process.exitcode for process in processes]
    assert codes == [0] * writers, codes
    return writers * runs / taken


def _write(store: str, study: str, writer: int, runs: int, ready: Barrier) -> None:
    with tracked_runs.grid(study, store) as grid:
        ready.wait(START_LIMIT_S)
        for number in range(runs):
            grid.write(writer * runs + number, wrong=number % 7)


def check(store: str, expected: int, study: str = "scale") -> float:
    """Each of the `expected` cells is there once, finished and whole; seconds of reading them."""
    client = tracking.connect(store)
    start = time.monotonic()
    found = tracking.cell_runs(client)
    taken = time.monotonic() - start
    found = found[found["study"] == study]
    assert len(found) == expected
    fingerprints = {tracked_runs.spec(number, study).fingerprint for number in range(expected)}
    assert set(found["fingerprint"]) == fingerprints
    assert set(found["status"]) == {"FINISHED"}
    assert found["test_accuracy"].between(0.8, 1).all()
    assert tracking.finished(client, study).keys() == fingerprints
    for run_id in found["run_id"].iloc[:: max(expected // 10, 1)]:
        assert tracking.predictions(client, run_id) is not None
    return taken
