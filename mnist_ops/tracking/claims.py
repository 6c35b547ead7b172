"""Who may compute a cell: at most one living process, whoever starts grids on a store, and where.

MLflow has no locks, but one operation that only one of several can win: a param of a run is
written once, and a second value for it is refused. The ledger is a run whose params are claims,
``<fingerprint>.<generation> = <owner>``. Who holds a cell is its highest generation's owner; nobody
does if that is the mark of a release, or a process that is dead. To take it is to write the next
generation, which one of several takers can. Nothing is ever overwritten.

The ledger run also carries each owner's sign of life as a tag. It is the only run of an experiment
of its own, whose name, being unique in a store, decides who makes it. Its id names the store.
"""

import contextlib
import hashlib
import re
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.entities import Param, Run
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from mnist_ops.core.errors import TrackingUnavailable
from mnist_ops.tracking.conflicts import find_or_create_experiment
from mnist_ops.tracking.process_id import HEARTBEAT_S, HEARTBEAT_TIMEOUT_S, ProcessId
from mnist_ops.tracking.store import STORE_ERRORS

EXPERIMENT = "mnist-ops ledger"
_NOTE = (
    "Kept by mnist-ops: which process computes which cell, so that no cell is computed twice. "
    "Holds no results."
)
RUN_TAG = "mnist_ops.ledger_run"
_RELEASED = "-"
_HEARTBEAT = "beat."
# Somebody who made the experiment makes its run right after, unless they died in between.
_MAKER_PATIENCE_S = 10
_DROP_AFTER_S = 86_400
# Of a number that this program has written: generations, and seconds since the epoch.
_MAX_DIGITS = 12
_GENERATION = re.compile(rf"[0-9]{{1,{_MAX_DIGITS}}}")
_PARAMS_A_BATCH = 100
# A taker loses to another once a generation; more often only where nothing can be written.
_TRIES = 20


@dataclass(frozen=True)
class Entries:
    """The ledger as it was read.

    Attributes:
        claims: fingerprint -> its highest generation, and that one's owner or None.
        heartbeats: owner -> last sign of life, seconds since the epoch.
    """

    claims: Mapping[str, tuple[int, ProcessId | None]]
    heartbeats: Mapping[ProcessId, float]

    def is_alive(self, owner: ProcessId) -> bool:
        """Whether `owner` is alive, as far as can be told."""
        return owner.is_alive(self.heartbeats.get(owner))

    def holder(self, fingerprint: str) -> ProcessId | None:
        """The living owner of a cell."""
        _, owner = self.claims.get(fingerprint, (0, None))
        return owner if owner and self.is_alive(owner) else None


class Claims:
    """The claims of this process on a store."""

    def __init__(self, client: MlflowClient, store: str):
        """The ledger of the store with the id `store`, as `find` gives it."""
        self.store = store
        self._client = client
        self._me = ProcessId.this_process()
        self._mine: dict[str, int] = {}
        self._last_heartbeat = float("-inf")
        self._ended = threading.Event()
        self._heartbeat_thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def claim(self, fingerprints: Iterable[str]) -> set[str]:
        """Take the cells that no other living process holds; those held now are returned."""
        wanted = set(fingerprints)
        if fresh := wanted - self._mine.keys():
            self.start_heartbeat()
            # Most cells were never claimed before, which needs no look at the ledger.
            others = fresh - self._take(dict.fromkeys(fresh, 1))
            for _ in range(_TRIES):
                entries = self.entries() if others else None
                free = {
                    fingerprint: entries.claims.get(fingerprint, (0, None))[0] + 1
                    for fingerprint in others
                    if entries and entries.holder(fingerprint) in (None, self._me)
                }
                if not free:
                    break
                others -= self._take(free)
            else:
                raise self._unwritable()
        return wanted & self._mine.keys()

    def confirm(self, fingerprint: str) -> bool:
        """Whether a cell is still held: another process may have taken this one for dead."""
        generation = self._mine.get(fingerprint)
        if generation is None:
            return False
        if time.monotonic() - self._last_heartbeat < HEARTBEAT_TIMEOUT_S / 2:
            return True
        latest, owner = self.entries().claims.get(fingerprint, (0, None))
        if (latest, owner) == (generation, self._me):
            return True
        del self._mine[fingerprint]
        return False

    def release(self, fingerprints: Iterable[str]) -> None:
        """Let cells go that are held: they are finished, or another may try."""
        ours = {key: self._mine.pop(key) for key in fingerprints if key in self._mine}
        self._write({key: generation + 1 for key, generation in ours.items()}, _RELEASED)

    def entries(self) -> Entries:
        """Read the ledger."""
        return _entries(self._client.get_run(self.store))

    def start_heartbeat(self) -> None:
        """Leave signs of life from now on, for other machines: this process holds or opens runs."""
        with self._starting:
            if self._heartbeat_thread is None:
                self._send_heartbeat()
                self._heartbeat_thread = threading.Thread(
                    target=self._send_heartbeats, name="heartbeats", daemon=True
                )
                self._heartbeat_thread.start()

    def close(self) -> None:
        """Let everything go, and leave no more signs of life."""
        self._ended.set()
        with contextlib.suppress(*STORE_ERRORS):
            self.release(list(self._mine))
            if self._heartbeat_thread:
                self._client.delete_tag(self.store, _heartbeat_key(self._me))

    def _take(self, generations: dict[str, int]) -> set[str]:
        self._write(generations, str(self._me))
        # That a write was answered does not make it one: what counts is what the ledger then holds.
        claims = self.entries().claims
        won = {key for key in generations if claims.get(key) == (generations[key], self._me)}
        self._mine |= {key: generations[key] for key in won}
        return won

    def _write(self, generations: dict[str, int], value: str) -> None:
        """Write claims of the generations named, apart from those that somebody wrote before."""
        keys = list(generations)
        for first in range(0, len(keys), _PARAMS_A_BATCH):
            batch = keys[first : first + _PARAMS_A_BATCH]
            params = [Param(f"{key}.{generations[key]}", value) for key in batch]
            if not self._write_all(params) and len(batch) > 1:
                for param in params:
                    self._write_all([param])

    def _write_all(self, params: list[Param]) -> bool:
        try:
            self._client.log_batch(self.store, params=params)
        except MlflowException as error:
            # Of a race in the database one writer sees the other's row as a broken constraint.
            if error.error_code in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST"):
                return False
            raise
        return True

    def _send_heartbeats(self) -> None:
        while not self._ended.wait(HEARTBEAT_S):
            # A store that is away is no reason to end: it may come back.
            with contextlib.suppress(*STORE_ERRORS, TrackingUnavailable):
                self._send_heartbeat()

    def _send_heartbeat(self) -> None:
        began = time.monotonic()
        try:
            self._client.set_tag(
                self.store, _heartbeat_key(self._me), f"{time.time():.0f} {self._me}"
            )
        except MlflowException as error:
            if error.error_code == "INVALID_PARAMETER_VALUE":
                raise self._unwritable() from None
            raise
        self._last_heartbeat = began

    def _unwritable(self) -> TrackingUnavailable:
        return TrackingUnavailable(
            f"claims cannot be written to run {self.store}: if it was deleted, restore it with "
            f"`mlflow runs restore --run-id {self.store}`; else look at what stands between here "
            "and the server"
        )


def find(client: MlflowClient, *, create: bool = True) -> str | None:
    """The id of the ledger's run, which names the store; None where there is none to be made."""
    if not create and client.get_experiment_by_name(EXPERIMENT) is None:
        return None
    tags = {MLFLOW_RUN_NOTE: _NOTE, "mlflow.experimentKind": "custom_model_development"}
    experiment, ours = find_or_create_experiment(client, EXPERIMENT, tags)
    experiment_id = experiment.experiment_id
    if experiment.lifecycle_stage != "active" and create:
        client.restore_experiment(experiment_id)
    deadline = time.monotonic() + _MAKER_PATIENCE_S
    while not ours and time.monotonic() < deadline:
        run_id = client.get_experiment(experiment_id).tags.get(RUN_TAG)
        if run_id or not create:
            return run_id
        time.sleep(0.1)
    return _new_run(client, experiment_id)


def renew(client: MlflowClient) -> str:
    """Begin another ledger in a store that has one; the id of its run, which names the store."""
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    return _new_run(client, experiment.experiment_id)


def drop_old_heartbeats(client: MlflowClient, store: str) -> None:
    """Remove signs of life that are a day old."""
    for owner, beat in _entries(client.get_run(store)).heartbeats.items():
        if time.time() - beat > _DROP_AFTER_S:
            client.delete_tag(store, _heartbeat_key(owner))


def _new_run(client: MlflowClient, experiment_id: str) -> str:
    run = client.create_run(experiment_id, run_name="ledger", tags={MLFLOW_RUN_NOTE: _NOTE})
    client.set_terminated(run.info.run_id)
    client.set_experiment_tag(experiment_id, RUN_TAG, run.info.run_id)
    if client.get_experiment(experiment_id).tags.get(RUN_TAG) != run.info.run_id:
        raise TrackingUnavailable(
            f"experiment {EXPERIMENT!r} does not keep a tag that was written: look at what stands "
            "between here and the server, and start again"
        )
    return str(run.info.run_id)


def _entries(run: Run) -> Entries:
    """Read the claims in the ledger's run; params of another form are passed over."""
    claims: dict[str, tuple[int, ProcessId | None]] = {}
    for key, value in run.data.params.items():
        fingerprint, _, number = str(key).rpartition(".")
        if not _GENERATION.fullmatch(number):
            continue
        generation = int(number)
        if generation > claims.get(fingerprint, (0, None))[0]:
            claims[fingerprint] = generation, ProcessId.parse(str(value))
    heartbeats: dict[ProcessId, float] = {}
    for key, value in run.data.tags.items():
        when, _, owner_text = str(value).partition(" ")
        if key.startswith(_HEARTBEAT) and when.isdecimal() and (by := ProcessId.parse(owner_text)):
            heartbeats[by] = float(when[:_MAX_DIGITS])
    return Entries(claims, heartbeats)


def _heartbeat_key(owner: ProcessId) -> str:
    # A host's name may have characters that a tag's key must not.
    return _HEARTBEAT + hashlib.sha256(str(owner).encode()).hexdigest()[:16]
