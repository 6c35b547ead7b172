"""Claims: at most one live process computes a cell, among all processes that use a store.

MLflow has no locks, but one operation that only one of several can win: a param of a run is
written once, and a second value for it is refused. Claims are the params of one run,
``<fingerprint>.<generation> = <process id>``. A cell belongs to the process of its highest
generation; it is free if that one is marked as released or its process has ended. To claim a cell
is to write the next generation, in which one of several processes succeeds.

The run of claims also carries the heartbeat of each process as a tag. It is in an experiment of its
own, whose name is unique in a store, so that one process creates it. Its id names the store.
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
# The process that creates the experiment creates its run next, unless it ends in between.
_MAKER_PATIENCE_S = 10
_DROP_AFTER_S = 86_400
# Of the numbers that this program writes: generations, and seconds since the epoch.
_MAX_DIGITS = 12
_GENERATION = re.compile(rf"[0-9]{{1,{_MAX_DIGITS}}}")
_PARAMS_A_BATCH = 100
# A claim is lost to another process at most once a generation, unless nothing can be written.
_TRIES = 20


@dataclass(frozen=True)
class Entries:
    """The claims and heartbeats of all processes, as read from the store.

    Attributes:
        claims: fingerprint -> its highest generation, and that one's owner or None.
        heartbeats: owner -> time of its last heartbeat, seconds since the epoch.
    """

    claims: Mapping[str, tuple[int, ProcessId | None]]
    heartbeats: Mapping[ProcessId, float]

    def is_alive(self, owner: ProcessId) -> bool:
        """Return whether `owner` is alive, as far as this machine can determine."""
        return owner.is_alive(self.heartbeats.get(owner))

    def holder(self, fingerprint: str) -> ProcessId | None:
        """Return the live process that has claimed a cell; None if the cell is free."""
        _, owner = self.claims.get(fingerprint, (0, None))
        return owner if owner and self.is_alive(owner) else None


class Claims:
    """The claims of this process on a store."""

    def __init__(self, client: MlflowClient, store: str, owner: ProcessId | None = None):
        """Claim cells in the store with the id `store`, as `find` returns it.

        `owner` is the process that claims; None is this one.
        """
        self.store = store
        self._client = client
        self.owner = owner or ProcessId.this_process()
        self._mine: dict[str, int] = {}
        self._last_heartbeat = float("-inf")
        self._ended = threading.Event()
        self._heartbeat_thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def claim(self, fingerprints: Iterable[str]) -> set[str]:
        """Claim the cells that no other live process has; return those that are ours now."""
        wanted = set(fingerprints)
        if fresh := wanted - self._mine.keys():
            self.start_heartbeat()
            # Most cells were never claimed: generation 1 is tried without reading the claims.
            others = fresh - self._take(dict.fromkeys(fresh, 1))
            for _ in range(_TRIES):
                entries = self.entries() if others else None
                free = {
                    fingerprint: entries.claims.get(fingerprint, (0, None))[0] + 1
                    for fingerprint in others
                    if entries and entries.holder(fingerprint) in (None, self.owner)
                }
                if not free:
                    break
                others -= self._take(free)
            else:
                raise self._unwritable()
        return wanted & self._mine.keys()

    def confirm(self, fingerprint: str) -> bool:
        """Return whether a claim is still valid: another process may have taken it over."""
        generation = self._mine.get(fingerprint)
        if generation is None:
            return False
        if time.monotonic() - self._last_heartbeat < HEARTBEAT_TIMEOUT_S / 2:
            return True
        latest, owner = self.entries().claims.get(fingerprint, (0, None))
        if (latest, owner) == (generation, self.owner):
            return True
        del self._mine[fingerprint]
        return False

    def release(self, fingerprints: Iterable[str]) -> None:
        """Release claims of this process, so that other processes may compute the cells."""
        ours = {key: self._mine.pop(key) for key in fingerprints if key in self._mine}
        self._write({key: generation + 1 for key, generation in ours.items()}, _RELEASED)

    def entries(self) -> Entries:
        """Read all claims and heartbeats from the store."""
        return _entries(self._client.get_run(self.store))

    def start_heartbeat(self) -> None:
        """Send heartbeats from now on, by which other machines see that this process is alive."""
        with self._starting:
            if self._heartbeat_thread is None:
                self._send_heartbeat()
                self._heartbeat_thread = threading.Thread(
                    target=self._send_heartbeats, name="heartbeats", daemon=True
                )
                self._heartbeat_thread.start()

    def stop_heartbeat(self) -> None:
        """Send no more heartbeats: other machines take the claims over some minutes later."""
        self._ended.set()

    def close(self) -> None:
        """Release all claims and stop the heartbeats."""
        self.stop_heartbeat()
        with contextlib.suppress(*STORE_ERRORS):
            self.release(list(self._mine))
            if self._heartbeat_thread:
                self._client.delete_tag(self.store, heartbeat_key(self.owner))

    def _take(self, generations: dict[str, int]) -> set[str]:
        self._write(generations, str(self.owner))
        # An answer does not prove that the write took place: only claims that are read back count.
        claims = self.entries().claims
        won = {key for key in generations if claims.get(key) == (generations[key], self.owner)}
        self._mine |= {key: generations[key] for key in won}
        return won

    def _write(self, generations: dict[str, int], value: str) -> None:
        """Write claims of the given generations, except those that exist already."""
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
            # In a race one of two writers gets the error of a violated constraint.
            if error.error_code in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST"):
                return False
            raise
        return True

    def _send_heartbeats(self) -> None:
        while not self._ended.wait(HEARTBEAT_S):
            # The store may become available again.
            with contextlib.suppress(*STORE_ERRORS, TrackingUnavailable):
                self._send_heartbeat()

    def _send_heartbeat(self) -> None:
        began = time.monotonic()
        try:
            self._client.set_tag(
                self.store, heartbeat_key(self.owner), f"{time.time():.0f} {self.owner}"
            )
        except MlflowException as error:
            if error.error_code == "INVALID_PARAMETER_VALUE":
                raise self._unwritable() from None
            raise
        self._last_heartbeat = began

    def _unwritable(self) -> TrackingUnavailable:
        return TrackingUnavailable(
            f"claims cannot be written to run {self.store}: if it was deleted, restore it with "
            f"`mlflow runs restore --run-id {self.store}`; otherwise check the proxy "
            "between this machine and the server"
        )


def find(client: MlflowClient, *, create: bool = True) -> str | None:
    """Return the id of the run of claims, which names the store; None if it is absent."""
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
    """Create another run of claims in a store that has one; return its id."""
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    return _new_run(client, experiment.experiment_id)


def drop_old_heartbeats(client: MlflowClient, store: str) -> None:
    """Remove heartbeats that are older than a day."""
    for owner, beat in _entries(client.get_run(store)).heartbeats.items():
        if time.time() - beat > _DROP_AFTER_S:
            client.delete_tag(store, heartbeat_key(owner))


def _new_run(client: MlflowClient, experiment_id: str) -> str:
    run = client.create_run(experiment_id, run_name="ledger", tags={MLFLOW_RUN_NOTE: _NOTE})
    client.set_terminated(run.info.run_id)
    client.set_experiment_tag(experiment_id, RUN_TAG, run.info.run_id)
    if client.get_experiment(experiment_id).tags.get(RUN_TAG) != run.info.run_id:
        raise TrackingUnavailable(
            f"experiment {EXPERIMENT!r} lost a tag that was written: check the proxy between this "
            "machine and the server, and start again"
        )
    return str(run.info.run_id)


def _entries(run: Run) -> Entries:
    """Read the claims in their run; params of another form are ignored."""
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


def heartbeat_key(owner: ProcessId) -> str:
    """Return the tag that has the heartbeats of `owner`."""
    # A host's name may have characters that a tag's key must not.
    return _HEARTBEAT + hashlib.sha256(str(owner).encode()).hexdigest()[:16]
