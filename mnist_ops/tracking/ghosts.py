"""What dead processes leave: journals on this machine, runs in the store that say RUNNING."""

import time
from collections.abc import Collection

from mlflow import MlflowClient
from mlflow.entities import Run

from mnist_ops import keys
from mnist_ops.tracking.journal import now_ms
from mnist_ops.tracking.ledger import Ledger
from mnist_ops.tracking.owner import Owner
from mnist_ops.tracking.search import search, tag
from mnist_ops.tracking.tracker import Tracker

# What `mlflow run` opened and never handed over, or an older version wrote, names no owner.
_NO_OWNER_LIVES_S = 86_400


def ghosts(client: MlflowClient, ledger: Ledger) -> list[Run]:
    """The runs of ours that are RUNNING, and whose owner is dead."""
    entries = ledger.entries()
    found = []
    for run in search(client, f"{tag(keys.ROLE)} LIKE '%' and attributes.status = 'RUNNING'"):
        owner = Owner.parse(run.data.tags.get(keys.OWNER, ""))
        if owner is None:
            lives = time.time() - run.info.start_time / 1000 < _NO_OWNER_LIVES_S
        else:
            lives = entries.lives(owner)
        if not lives:
            found.append(run)
    return found


def end_ghost(client: MlflowClient, run: Run) -> None:
    """End a ghost in its true state."""
    client.set_tag(run.info.run_id, keys.ERROR, "its process ended before it did")
    client.set_terminated(run.info.run_id, "KILLED", now_ms())


def bury_the_dead(tracker: Tracker, planned: Collection[str] = ()) -> int:
    """Take over what dead processes left on this machine, and end what they left open in the store.

    Args:
        tracker: of the store, which must answer.
        planned: fingerprints of cells that are about to be computed: with those that this machine
            has begun somebody goes on, so they are left as they are.

    Returns:
        How many runs are on their way to the store.
    """
    left = tracker.take_over(keep=lambda fingerprint: fingerprint in planned)
    for run in ghosts(tracker.client, tracker.ledger):
        fingerprint = run.data.tags.get(keys.FINGERPRINT, "")
        if not (fingerprint in planned and (tracker.journals / fingerprint).exists()):
            end_ghost(tracker.client, run)
    return left
