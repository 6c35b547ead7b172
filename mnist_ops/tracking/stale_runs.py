"""What dead processes leave: journals on this machine, runs in the store that say RUNNING."""

import time
from collections.abc import Callable, Collection

from mlflow import MlflowClient
from mlflow.entities import Run

from mnist_ops.core import keys
from mnist_ops.tracking.claims import Ledger
from mnist_ops.tracking.journal import now_ms
from mnist_ops.tracking.process_id import BEAT_S, Owner
from mnist_ops.tracking.search import search, tag
from mnist_ops.tracking.tracker import Tracker

# What `mlflow run` opened and never handed over, or an older version wrote, names no owner; and a
# process of another machine may not have left a sign of life yet.
_NO_SIGN_LIVES_S = 86_400
# How long a process of another machine is watched: two signs of life, and a slow store.
WATCH_S = 2.0 * BEAT_S + 5
ENDED_BEFORE = "its process ended before it did"

DeadAmong = Callable[[set[Owner]], set[Owner]]


def dead_among(
    owners: Collection[Owner], ledger: Ledger, say: Callable[[str], None] = lambda line: None
) -> set[Owner]:
    """Return the `owners` that are certainly dead.

    A process of this machine is looked up. Of another machine only signs of life tell, and its
    clock need not agree with ours: one whose last sign seems old is watched, and lives if another
    one comes.

    Args:
        owners: the processes in question.
        ledger: where they leave their signs of life.
        say: gets a line for people if that takes long.
    """
    entries = ledger.entries()
    dead = {owner for owner in owners if not entries.lives(owner)}
    elsewhere = {owner for owner in dead if owner in entries.beats and not owner.is_here}
    if elsewhere:
        hosts = ", ".join(sorted({owner.host for owner in elsewhere}))
        say(f"waiting {WATCH_S:.0f} s for signs of life of processes on {hosts}")
        time.sleep(WATCH_S)
        later = ledger.entries().beats
        dead -= {o for o in elsewhere if later.get(o, entries.beats[o]) != entries.beats[o]}
    return dead


def ghosts(client: MlflowClient, ledger: Ledger, dead: DeadAmong) -> list[Run]:
    """The runs of ours that are RUNNING, and whose owner is surely dead."""
    is_open = f"{tag(keys.ROLE)} LIKE '%' and attributes.status = 'RUNNING'"
    runs = list(search(client, is_open))
    beats = ledger.entries().beats if runs else {}
    suspects: dict[str, Owner] = {}
    found = []
    for run in runs:
        owner = Owner.parse(run.data.tags.get(keys.OWNER, ""))
        if owner is not None and (owner.is_here or owner in beats):
            suspects[run.info.run_id] = owner
        elif time.time() - run.info.start_time / 1000 > _NO_SIGN_LIVES_S:
            found.append(run)
    gone = dead(set(suspects.values())) if suspects else set()
    return found + [run for run in runs if suspects.get(run.info.run_id) in gone]


def bury_the_dead(
    tracker: Tracker,
    planned: Collection[str] = (),
    watch: Callable[[str], None] | None = None,
) -> int:
    """Take over what dead processes left on this machine, and end what they left open in the store.

    Args:
        tracker: of the store, which must answer.
        planned: fingerprints of cells that are about to be computed: with those that this machine
            has begun somebody goes on, so they are left as they are.
        watch: gets a line for people while processes of other machines are watched; None leaves
            what those have open.

    Returns:
        How many runs are on their way to the store.
    """
    left = tracker.take_over(keep=lambda fingerprint: fingerprint in planned)

    def dead(owners: set[Owner]) -> set[Owner]:
        if watch:
            return dead_among(owners, tracker.ledger, watch)
        return dead_among({owner for owner in owners if owner.is_here}, tracker.ledger)

    for run in ghosts(tracker.client, tracker.ledger, dead):
        fingerprint = run.data.tags.get(keys.FINGERPRINT, "")
        if not (fingerprint in planned and (tracker.journals / fingerprint).exists()):
            tracker.client.set_tag(run.info.run_id, keys.ERROR, ENDED_BEFORE)
            tracker.client.set_terminated(run.info.run_id, "KILLED", now_ms())
    return left
