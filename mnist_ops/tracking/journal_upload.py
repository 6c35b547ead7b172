"""Upload one journal to the store, its events in order.

An upload is idempotent: MLflow keeps one of two equal points and accepts equal params and tags, and
a run is searched for by its journal tag before it is created. So after a crash all events are sent
again. A journal is deleted only after its run was read back from the store and compared.
"""

import contextlib
from dataclasses import dataclass, field
from enum import Enum, auto

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.uri import is_http_uri

from mnist_ops.core import keys
from mnist_ops.core.errors import MnistOpsError
from mnist_ops.tracking.claims import Claims
from mnist_ops.tracking.events import Event
from mnist_ops.tracking.journal import Journal, now_ms
from mnist_ops.tracking.queries import finished_runs
from mnist_ops.tracking.readback import missing
from mnist_ops.tracking.search import search, tag
from mnist_ops.tracking.store import STORE_ERRORS

# Suffix of the folder of a journal that the store refuses.
REFUSED = ".refused"
# The largest number of points that MLflow takes at once.
_METRICS_A_BATCH = 1000
# Errors that a retry does not resolve.
_FINAL = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "INVALID_STATE")
# A proxy may return such errors, too: after this many in a row at one event they are MLflow's.
_REFUSALS = 6


class State(Enum):
    """State of the upload of a journal."""

    PENDING = auto()
    # The store has every event so far; the run has not ended.
    UPLOADED = auto()
    # Another process computes the cell; the upload waits until that process has ended.
    CLAIMED_ELSEWHERE = auto()
    DONE = auto()


@dataclass
class Upload:
    """The upload of one journal.

    Attributes:
        journal: the journal.
        client: of the store.
        claims: of this process.
        claimed: see `Uploader.add`.
        state: of the upload.
        claimed_by: message that names the process that computes the cell; None if none does.
    """

    journal: Journal
    client: MlflowClient
    claims: Claims
    claimed: bool
    state: State = State.PENDING
    claimed_by: str | None = None
    _sent: int = 0
    _batch: "_Batch" = field(default_factory=lambda: _Batch())
    # Whether an earlier request may have created the run.
    _may_exist: bool = False
    _recreated: bool = False
    _may_have_duplicates: bool = False
    # Number of final errors in a row, and the number of events sent before them.
    _refusals: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        self._may_exist = len(self.journal.events) > 1

    def advance(self) -> None:
        """Upload the new events.

        Raises:
            MlflowException: or another of `STORE_ERRORS`: the store fails or refuses the run.
        """
        if not self._may_be_sent():
            return
        try:
            self._send()
        except MlflowException as error:
            if self._recreated or not _is_final(error) or not self._is_gone():
                raise
            # The run was deleted in the store: it is created again from the journal.
            self._recreated = self._may_have_duplicates = True
            self._sent = 0
            self.journal.append("run", run_id=None)
            self._send()

    def is_refused(self, error: Exception) -> bool:
        """Return whether `error` means that MLflow will never accept this run."""
        times, sent = self._refusals
        if not _is_final(error):
            self._refusals = (0, 0)
            return False
        self._refusals = (times + 1 if sent == self._sent else 1, self._sent)
        if self._refusals[0] < _REFUSALS:
            return False
        try:
            self.claims.entries()
        except Exception:
            # The response is not that of the store.
            return False
        return True

    def refuse(self) -> None:
        """Set aside the journal of a run that the store refuses."""
        folder = self.journal.folder
        self.journal.move(folder.with_name(f"{folder.name}-{now_ms()}{REFUSED}"))
        self.journal.close()
        self.state = State.DONE

    @property
    def _run_id(self) -> str:
        run_id = self.journal.run_id
        assert run_id is not None, "a run is opened before anything else is sent"
        return run_id

    def _may_be_sent(self) -> bool:
        """Return whether this process has the claim on the cell and no other has finished it."""
        fingerprint = self.journal.fingerprint
        if fingerprint is None:
            return True
        if self.claimed and self.claims.confirm(fingerprint):
            return True
        if fingerprint not in self.claims.claim([fingerprint]):
            holder = self.claims.entries().holder(fingerprint)
            if holder is not None:
                self.claimed_by = f"process {holder.pid} on {holder.host} computes their cells"
            self.state = State.CLAIMED_ELSEWHERE
            return False
        self.claimed, self.claimed_by = True, None
        if not self.journal.forced and self._finished_elsewhere():
            self._abandon()
            return False
        return True

    def _send(self) -> None:
        self._batch = _Batch()
        while self._sent + len(self._batch.events) < len(self.journal.events):
            event = self.journal.events[self._sent + len(self._batch.events)]
            if not self._batch.add(event):
                self._send_batch()
                self._handle(event)
                if self.state is State.DONE:
                    return
                self._sent += 1
        self._send_batch()
        self.state = State.UPLOADED
        # An event added meanwhile has not woken the uploader.
        if self._sent < len(self.journal.events):
            self.state = State.PENDING

    def _send_batch(self) -> None:
        batch = self._batch
        if batch.metrics or batch.params or batch.tags:
            for first in range(0, max(len(batch.metrics), 1), _METRICS_A_BATCH):
                metrics = batch.metrics[first : first + _METRICS_A_BATCH]
                self.client.log_batch(self._run_id, metrics, batch.params, batch.tags)
        self._sent += len(batch.events)
        self._batch = _Batch()

    def _handle(self, event: Event) -> None:
        match event["kind"]:
            case "open":
                self._open(event)
            case "artifact":
                path = self.journal.folder / event["file"]
                self.client.log_artifact(self._run_id, str(path))
            case "resume":
                self.client.update_run(self._run_id, status="RUNNING")
                self._log_tags(event["tags"])
                # A killed process has not set the tag.
                with contextlib.suppress(MlflowException):
                    self.client.delete_tag(self._run_id, keys.ERROR)
            case "end" if event is self._last_end():
                self._end(event)

    def _open(self, event: Event) -> None:
        if self.journal.run_id is None:
            run_id = next(iter(self._of_this_journal()), None) if self._may_exist else None
            if run_id is None:
                # The HTTP client repeats a request whose response is lost.
                over_http = is_http_uri(self.client.tracking_uri)
                self._may_have_duplicates |= self._may_exist or over_http
                self._may_exist = True
                run = self.client.create_run(
                    event["experiment_id"],
                    start_time=event["time"],
                    tags=event["tags"],
                    run_name=event["name"],
                )
                run_id = run.info.run_id
            self.journal.append("run", run_id=run_id)
        params = [Param(name, value) for name, value in event["params"].items()]
        if params:
            self.client.log_batch(self._run_id, params=params)
        if dataset := event.get("dataset"):
            context = InputTag("mlflow.data.context", "training")
            self.client.log_inputs(self._run_id, [DatasetInput(Dataset(**dataset), [context])])

    def _end(self, event: Event) -> None:
        fingerprint = self.journal.fingerprint
        others: list[str] = []
        if fingerprint and event["status"] == "FINISHED":
            others = self._finished_elsewhere()
            if others and not self.journal.forced:
                self._abandon()
                return
        self.client.set_terminated(self._run_id, event["status"], event["time"])
        if lacking := missing(self.client, self._run_id, self.journal.events):
            self._sent = 0
            raise MlflowException(f"the store accepted a run, but does not have its {lacking}")
        if self._may_have_duplicates:
            others += [run_id for run_id in self._of_this_journal() if run_id != self._run_id]
        for other in others:
            self.client.delete_run(other)
        self._finish(keep=event["status"] == "KILLED" and fingerprint is not None)

    def _abandon(self) -> None:
        """End the run as KILLED and delete its journal: another process has finished the cell."""
        if run_id := self.journal.run_id:
            # The run may have been deleted.
            with contextlib.suppress(MlflowException):
                self._log_tags({keys.ERROR: "another process finished this cell"})
                self.client.set_terminated(run_id, "KILLED", self.journal.last_time)
        self._finish(keep=False)

    def _finish(self, *, keep: bool) -> None:
        """Release the claim, and remove the journal unless the run may be resumed."""
        if fingerprint := self.journal.fingerprint:
            self.claims.release([fingerprint])
        if keep:
            self.journal.append("synced")
            self.journal.close()
        else:
            self.journal.remove()
        self.state = State.DONE

    def _log_tags(self, tags: dict[str, str]) -> None:
        self.client.log_batch(self._run_id, tags=[RunTag(k, v) for k, v in tags.items()])

    def _last_end(self) -> Event | None:
        ends = [event for event in self.journal.events if event["kind"] in ("end", "resume")]
        return ends[-1] if ends and ends[-1]["kind"] == "end" else None

    def _of_this_journal(self) -> list[str]:
        """Return the ids of the runs in the store that were created from this journal."""
        mark = self.journal.tags[keys.JOURNAL]
        found = search(self.client, f"{tag(keys.JOURNAL)} = '{mark}'")
        # A wrong response may have other runs.
        return [run.info.run_id for run in found if run.data.tags.get(keys.JOURNAL) == mark]

    def _finished_elsewhere(self) -> list[str]:
        """Return the ids of other finished runs of the cell."""
        assert self.journal.fingerprint is not None
        found = [run.info.run_id for run in finished_runs(self.client, self.journal.fingerprint)]
        return [run_id for run_id in found if run_id != self.journal.run_id]

    def _is_gone(self) -> bool:
        if self.journal.run_id is None:
            return False
        # Raises if the response is not that of the store.
        self.claims.entries()
        try:
            run = self.client.get_run(self.journal.run_id)
        except MlflowException as error:
            return error.error_code == "RESOURCE_DOES_NOT_EXIST"
        return str(run.info.lifecycle_stage) == "deleted"


@dataclass
class _Batch:
    """Events that are uploaded in one request."""

    events: list[Event] = field(default_factory=list)
    metrics: list[Metric] = field(default_factory=list)
    params: list[Param] = field(default_factory=list)
    tags: list[RunTag] = field(default_factory=list)

    def add(self, event: Event) -> bool:
        """Add `event` and return True; return False if it needs a request of its own."""
        match event["kind"]:
            case "metrics":
                self.metrics += [
                    Metric(name, value, event["time"], event["step"])
                    for name, value in event["values"].items()
                ]
            case "params":
                self.params += [Param(name, value) for name, value in event["values"].items()]
            case "tags":
                self.tags += [RunTag(name, value) for name, value in event["values"].items()]
            case "run" | "synced":
                pass
            case _:
                return False
        self.events.append(event)
        return True


def _is_final(error: Exception) -> bool:
    """Return whether a retry would raise the same error."""
    if isinstance(error, MlflowException):
        return error.error_code in _FINAL
    return not isinstance(error, (*STORE_ERRORS, OSError, MnistOpsError))
