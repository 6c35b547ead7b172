"""Runs that say RUNNING though the process they belong to is dead."""

import time

from mlflow import MlflowClient
from mlflow.entities import Run

from mnist_ops import keys
from mnist_ops.tracking.journal import now_ms
from mnist_ops.tracking.ledger import Ledger
from mnist_ops.tracking.owner import Owner
from mnist_ops.tracking.search import search, tag

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
