"""Wait for cells that another grid computes at the same time."""

import time
from collections.abc import Sequence

from mlflow.entities import Run

from mnist_ops import tracking
from mnist_ops.core import cancellation, keys
from mnist_ops.runner.task import Outcome
from mnist_ops.study.specs import Spec

# Interval between looks at the store.
POLL_S = 2.0


def wait_for_others(
    tracker: tracking.Tracker, cells: Sequence[Spec], since: int
) -> tuple[list[Spec], list[Outcome]]:
    """Wait until one of `cells` has ended elsewhere or is free, or the user stops the grid.

    Args:
        tracker: of the store.
        cells: that other grids have claimed.
        since: milliseconds since the epoch; a failure before that does not count.

    Returns:
        The cells that are still to be computed, and the outcomes of the others.
    """
    waiting, outcomes = _ended(tracker, cells, since)
    while waiting and not outcomes and not _any_free(tracker, waiting):
        if cancellation.requested():
            break
        time.sleep(POLL_S)
        waiting, outcomes = _ended(tracker, waiting, since)
    return waiting, outcomes


def _ended(
    tracker: tracking.Tracker, cells: Sequence[Spec], since: int
) -> tuple[list[Spec], list[Outcome]]:
    try:
        runs = tracking.ended_of(tracker.client, (cell.fingerprint for cell in cells), since)
    except tracking.STORE_ERRORS:
        # The store may answer again, and the user can stop the grid.
        return list(cells), []
    waiting = [cell for cell in cells if cell.fingerprint not in runs]
    outcomes = [
        _outcome(cell, runs[cell.fingerprint]) for cell in cells if cell.fingerprint in runs
    ]
    return waiting, outcomes


def _any_free(tracker: tracking.Tracker, cells: Sequence[Spec]) -> bool:
    """Return whether no process computes one of the cells any more."""
    try:
        entries = tracker.claims.entries()
    except tracking.STORE_ERRORS:
        return False
    return any(entries.holder(cell.fingerprint) is None for cell in cells)


def _outcome(cell: Spec, run: Run) -> Outcome:
    if run.info.status == "FAILED":
        reason = run.data.tags.get(keys.ERROR, "no reason was noted")
        return Outcome(cell, "failed", run.info.run_id, error=reason)
    return Outcome(
        cell,
        "finished",
        run.info.run_id,
        test_accuracy=run.data.metrics.get(keys.TEST_ACCURACY),
        train_time_s=run.data.metrics.get(keys.TRAIN_TIME_S),
    )
