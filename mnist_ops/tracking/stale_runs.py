"""Recover stale runs: journals on this machine, and RUNNING runs, of processes that ended."""

import time
from collections.abc import Callable, Collection

from mlflow import MlflowClient
from mlflow.entities import Run

from mnist_ops.core import keys
from mnist_ops.tracking.claims import Claims
from mnist_ops.tracking.journal import now_ms
from mnist_ops.tracking.process_id import HEARTBEAT_S, ProcessId
from mnist_ops.tracking.search import search, tag
from mnist_ops.tracking.tracker import ENDED_BEFORE, Tracker

# Age after which a RUNNING run without a known process counts as stale. Runs that `mlflow run`
# opened or an older version wrote have no process id; a process of another machine may not have
# sent a heartbeat yet.
_UNKNOWN_STALE_AFTER_S = 86_400
# Time for which a process of another machine is watched: two heartbeats, and a margin.
WATCH_S = 2.0 * HEARTBEAT_S + 5

EndedAmong = Callable[[set[ProcessId]], set[ProcessId]]


def ended_among(
    owners: Collection[ProcessId], claims: Claims, log: Callable[[str], None] = lambda line: None
) -> set[ProcessId]:
    """Return the processes among `owners` that have certainly ended.

    A process of this machine is looked up. A process of another machine is known by its heartbeats,
    and its clock may differ: if the last heartbeat seems old, wait for another one.

    Args:
        owners: processes to check.
        claims: reads their heartbeats.
        log: gets a line before waiting.
    """
    entries = claims.entries()
    ended = {owner for owner in owners if not entries.is_alive(owner)}
    elsewhere = {owner for owner in ended if owner in entries.heartbeats and not owner.is_here}
    if elsewhere:
        hosts = ", ".join(sorted({owner.host for owner in elsewhere}))
        log(f"waiting {WATCH_S:.0f} s for heartbeats of processes on {hosts}")
        time.sleep(WATCH_S)
        later = claims.entries().heartbeats
        ended -= {
            o for o in elsewhere if later.get(o, entries.heartbeats[o]) != entries.heartbeats[o]
        }
    return ended


def find_stale_runs(client: MlflowClient, claims: Claims, ended: EndedAmong) -> list[Run]:
    """Return the RUNNING runs of this program whose process has certainly ended."""
    is_open = f"{tag(keys.ROLE)} LIKE '%' and attributes.status = 'RUNNING'"
    runs = list(search(client, is_open))
    heartbeats = claims.entries().heartbeats if runs else {}
    suspects: dict[str, ProcessId] = {}
    found = []
    for run in runs:
        owner = ProcessId.parse(run.data.tags.get(keys.OWNER, ""))
        if owner is not None and (owner.is_here or owner in heartbeats):
            suspects[run.info.run_id] = owner
        elif time.time() - run.info.start_time / 1000 > _UNKNOWN_STALE_AFTER_S:
            found.append(run)
    gone = ended(set(suspects.values())) if suspects else set()
    return found + [run for run in runs if suspects.get(run.info.run_id) in gone]


def recover_stale_runs(
    tracker: Tracker,
    planned: Collection[str] = (),
    watch: Callable[[str], None] | None = None,
) -> int:
    """Upload the journals of processes that ended on this machine, and end their open runs.

    Args:
        tracker: of the store, which must be available.
        planned: fingerprints of cells that are about to be computed. Their journals on this machine
            stay unchanged, since their runs are resumed.
        watch: gets a line before waiting for processes of other machines; with None the runs of
            other machines are not ended.

    Returns:
        The number of journals to upload.
    """
    left = tracker.take_over(keep=lambda fingerprint: fingerprint in planned)

    def ended(owners: set[ProcessId]) -> set[ProcessId]:
        if watch:
            return ended_among(owners, tracker.claims, watch)
        return ended_among({owner for owner in owners if owner.is_here}, tracker.claims)

    for run in find_stale_runs(tracker.client, tracker.claims, ended):
        fingerprint = run.data.tags.get(keys.FINGERPRINT, "")
        if not (fingerprint in planned and (tracker.journals / fingerprint).exists()):
            tracker.client.set_tag(run.info.run_id, keys.ERROR, ENDED_BEFORE)
            tracker.client.set_terminated(run.info.run_id, "KILLED", now_ms())
    return left
