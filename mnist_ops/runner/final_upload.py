"""Upload what a grid computed before its command ends."""

import contextlib
import time
from collections import Counter

from mnist_ops import tracking
from mnist_ops.core import cancellation
from mnist_ops.runner.study_report import StudyReport
from mnist_ops.runner.task import CellContext, Log
from mnist_ops.runner.workers import Pool

# Time limits: an outage of some minutes is waited for, unless the user interrupted the grid.
FINAL_UPLOAD_S = 300.0
INTERRUPTED_UPLOAD_S = 10.0
# The uploader waits longer after each failure; at the end of a grid this is its longest wait.
_ROUND_S = 8.0
_POLL_S = 2.0


def upload_runs(
    tracker: tracking.Tracker,
    pool: Pool,
    context: CellContext,
    report: StudyReport,
    log: Log,
    *,
    interrupted: bool,
) -> int:
    """Upload the runs of a grid, and log where those are that the store does not take in time.

    Returns:
        The number of runs that are pending.
    """
    deadline = time.monotonic() + (INTERRUPTED_UPLOAD_S if interrupted else FINAL_UPLOAD_S)
    was_logged = interrupted
    while pending := _upload_once(tracker, pool, context, report):
        runs = f"{pending.total()} runs are not yet in the store ({'; '.join(pending)})"
        left_s = deadline - time.monotonic()
        if left_s <= 0 or (cancellation.requested() and not interrupted):
            log(
                f"{runs}, but in {tracker.journals} of the machines that computed them: "
                "`mnist-ops sync` uploads them from there, and so does the next start"
            )
            break
        if not was_logged:
            log(f"{runs}: trying for {left_s:.0f} s more; Ctrl-C ends that")
            was_logged = True
        time.sleep(_POLL_S)
    return pending.total()


def _upload_once(
    tracker: tracking.Tracker, pool: Pool, context: CellContext, report: StudyReport
) -> Counter[str]:
    """Return the reason why runs are not in the store -> the number of such runs."""
    pending = pool.flush(context, _ROUND_S)
    with contextlib.suppress(*tracking.STORE_ERRORS):
        tracking.recover_stale_runs(tracker)
    tracker.uploader.flush(_ROUND_S, retry=True)
    pending += tracker.uploader.pending
    if not pending:
        # Runs of a worker that is lost or does not respond are not counted yet.
        with contextlib.suppress(*tracking.STORE_ERRORS):
            cells = {outcome.spec.fingerprint for outcome in report.finished}
            stored = tracking.finished(tracker.client, report.study)
            if absent := len(cells - stored.keys()):
                pending["the workers that have them do not answer"] = absent
    return pending
