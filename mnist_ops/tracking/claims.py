"""Claims: at most one live process computes a cell, among all processes that use a store.

MLflow has no locks, but a param of a run can be written only once: a second value is refused.
Claims are params of one run, ``<fingerprint>.<generation> = <process id>``. A cell belongs to the
process of its highest generation; it is free if that generation is marked as released or its
process has ended. A process claims a cell by writing the next generation, which only one can.

The run also has the heartbeat of each process as a tag. It is in an experiment of its own; names of
experiments are unique, so only one process creates it. The id of the run is the id of the store.

The experiment is in the state "deleted", which hides it and its params from MLflow's UI and from
``search_runs``. The run in it is active, so that it can be written. Only ``mlflow gc`` removes it.
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
# Time to wait for the run after another process created the experiment.
_CREATOR_TIMEOUT_S = 10
_DROP_AFTER_S = 86_400
# Largest number of digits of generations and of seconds since the epoch.
_MAX_DIGITS = 12
_GENERATION = re.compile(rf"[0-9]{{1,{_MAX_DIGITS}}}")
_PARAMS_A_BATCH = 100
# More lost attempts than this mean that claims cannot be written.
_TRIES = 20


@dataclass(frozen=True)
class Entries:
    """The claims and heartbeats of all processes, as read from the store.

    Attributes:
        claims: fingerprint -> its highest generation, and the owner of that or None.
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
        """Claim cells in a store.

        Args:
            client: of the store.
            store: its id, as `find` returns it.
            owner: the claiming process; None is this one.
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
        """Claim the cells that no other live process has; return the cells of this process."""
        wanted = set(fingerprints)
        if fresh := wanted - self._mine.keys():
            self.start_heartbeat()
            # Most cells were never claimed: try generation 1 before reading the claims.
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
        """Return whether this process still has its claim on a cell."""
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
        """Release claims, so that other processes may compute the cells."""
        ours = {key: self._mine.pop(key) for key in fingerprints if key in self._mine}
        self._write({key: generation + 1 for key, generation in ours.items()}, _RELEASED)

    def entries(self) -> Entries:
        """Read all claims and heartbeats from the store."""
        return _entries(self._client.get_run(self.store))

    def start_heartbeat(self) -> None:
        """Start sending heartbeats, which show other machines that this process is alive."""
        with self._starting:
            if self._heartbeat_thread is None:
                self._send_heartbeat()
                self._heartbeat_thread = threading.Thread(
                    target=self._send_heartbeats, name="heartbeats", daemon=True
                )
                self._heartbeat_thread.start()

    def stop_heartbeat(self) -> None:
        """Stop sending heartbeats; after some minutes other machines may take over the claims."""
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
        # A successful response does not prove the write, so only claims that are read back count.
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
            # Of two simultaneous writers one gets an error of a violated constraint.
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
            f"`mlflow runs restore --run-id {self.store}`; otherwise check the proxy between this "
            "machine and the server"
        )


def find(client: MlflowClient, *, create: bool = True) -> str | None:
    """Return the id of the store, which is that of its run of claims; None without one.

    Args:
        client: of the store.
        create: whether to create the run if there is none.
    """
    if not create and client.get_experiment_by_name(EXPERIMENT) is None:
        return None
    tags = {MLFLOW_RUN_NOTE: _NOTE, "mlflow.experimentKind": "custom_model_development"}
    experiment, ours = find_or_create_experiment(client, EXPERIMENT, tags)
    experiment_id = experiment.experiment_id
    deadline = time.monotonic() + _CREATOR_TIMEOUT_S
    while not ours and time.monotonic() < deadline:
        run_id = client.get_experiment(experiment_id).tags.get(RUN_TAG)
        if not create:
            return run_id
        if run_id:
            _hide(client, experiment_id, run_id)
            return run_id
        time.sleep(0.1)
    return _new_run(client, experiment_id)


def renew(client: MlflowClient) -> str:
    """Create a new run of claims in a store that has one; return its id."""
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    if experiment.lifecycle_stage != "active":
        client.restore_experiment(experiment.experiment_id)
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
            f"experiment {EXPERIMENT!r} has lost a tag: check the proxy between this machine and "
            "the server, and start again"
        )
    _hide(client, experiment_id, run.info.run_id)
    return str(run.info.run_id)


def _hide(client: MlflowClient, experiment_id: str, run_id: str) -> None:
    """Delete the experiment and restore its run, unless another process is writing to it.

    Several processes may do so at once: only one can delete the experiment, and each returns when
    the run is active.
    """
    if client.get_experiment(experiment_id).lifecycle_stage == "active":
        entries = _entries(client.get_run(run_id))
        if any(entries.is_alive(owner) for owner in entries.heartbeats):
            return
        try:
            client.delete_experiment(experiment_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
    if client.get_run(run_id).info.lifecycle_stage != "active":
        client.restore_run(run_id)


def _entries(run: Run) -> Entries:
    """Parse the claims and heartbeats of the run; ignore params and tags of another form."""
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
    """Return the name of the tag with the heartbeat of `owner`."""
    # A hash, since host names may have characters that tag names must not.
    return _HEARTBEAT + hashlib.sha256(str(owner).encode()).hexdigest()[:16]
