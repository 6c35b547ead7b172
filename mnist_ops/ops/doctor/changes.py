"""Changes of a fix, as data: each is recorded before it is made, and can be undone.

A change is undone only if nothing else has changed the same object since.
"""

from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from mnist_ops.core import keys
from mnist_ops.core.errors import TrackingUnavailable
from mnist_ops.tracking.journal import now_ms
from mnist_ops.tracking.moved_artifacts import repoint


@dataclass(frozen=True)
class EndRun:
    """Change the status of a run, and its error tag to the reason.

    Attributes:
        run_id: of the run.
        name: of the run.
        status_before: its status before, as MLflow names it.
        status_after: its new status.
        end_before: its end time before, milliseconds since the epoch; None of an open run.
        end_after: its new end time.
        error_before: its error tag before; None without one.
        error_after: its new error tag.
    """

    run_id: str
    name: str
    status_before: str
    status_after: str
    end_before: int | None
    end_after: int
    error_before: str | None
    error_after: str

    @classmethod
    def killed(cls, run: Run, reason: str) -> "EndRun":
        """Return the change of `run` to KILLED; an end time is kept."""
        info, error = run.info, run.data.tags.get(keys.ERROR)
        return cls(
            info.run_id,
            info.run_name,
            info.status,
            "KILLED",
            info.end_time,
            info.end_time or now_ms(),
            # The tag of an earlier fix that was interrupted before it set the status.
            None if error == reason else error,
            reason,
        )

    def do(self, client: MlflowClient | None) -> None:
        """Set the tag, then the status."""
        store = _connected(client)
        store.set_tag(self.run_id, keys.ERROR, self.error_after)
        store.set_terminated(self.run_id, self.status_after, self.end_after)

    def undo(self, client: MlflowClient | None) -> str | None:
        """Restore status and tag; MLflow cannot remove the end time of a run."""
        store = _connected(client)
        run = _run(store, self.run_id)
        if run is None or run.info.lifecycle_stage != "active":
            return f"{self.name} ({self.run_id[:8]}) was deleted since"
        now = run.info.status, run.info.end_time, run.data.tags.get(keys.ERROR)
        if now == (self.status_after, self.end_after, self.error_after):
            if self.status_before == "RUNNING":
                store.update_run(self.run_id, status=self.status_before)
            else:
                store.set_terminated(self.run_id, self.status_before, self.end_before)
        elif now[0] != self.status_before:
            return f"{self.name} ({self.run_id[:8]}) was changed since"
        if now[2] == self.error_after:
            if self.error_before is None:
                store.delete_tag(self.run_id, keys.ERROR)
            else:
                store.set_tag(self.run_id, keys.ERROR, self.error_before)
        return None

    def __str__(self) -> str:
        return f"{self.name} ({self.run_id[:8]}): {self.status_before} -> {self.status_after}"


@dataclass(frozen=True)
class SetDeleted:
    """Delete or restore a run or an experiment in MLflow's way.

    Attributes:
        what: ``run`` or ``experiment``.
        id: its id.
        name: its name.
        deleted: whether to delete it; otherwise restore it.
    """

    what: str
    id: str
    name: str
    deleted: bool

    def do(self, client: MlflowClient | None) -> None:
        """Delete or restore it, if necessary."""
        self._set(_connected(client), self.deleted)

    def undo(self, client: MlflowClient | None) -> str | None:
        """Restore or delete it again."""
        try:
            self._set(_connected(client), not self.deleted)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return f"{self.name} ({self.id[:8]}) is not in the store any more"
        return None

    def _set(self, store: MlflowClient, deleted: bool) -> None:
        if self.what == "run":
            if (store.get_run(self.id).info.lifecycle_stage == "deleted") != deleted:
                (store.delete_run if deleted else store.restore_run)(self.id)
        elif (store.get_experiment(self.id).lifecycle_stage == "deleted") != deleted:
            (store.delete_experiment if deleted else store.restore_experiment)(self.id)

    def __str__(self) -> str:
        return f"{self.name} ({self.id[:8]}): {'deleted' if self.deleted else 'restored'}"


@dataclass(frozen=True)
class Move:
    """Move a file or folder within its disk.

    Attributes:
        source: its path before, absolute.
        target: its new path, absolute.
    """

    source: str
    target: str

    def do(self, client: MlflowClient | None) -> None:
        """Rename it."""
        Path(self.target).parent.mkdir(parents=True, exist_ok=True)
        Path(self.source).rename(self.target)

    def undo(self, client: MlflowClient | None) -> str | None:
        """Rename it back."""
        source, target = Path(self.source), Path(self.target)
        if not target.exists():
            return None if source.exists() else f"{target} is not there any more"
        if source.exists():
            return f"{target} stays: there is another {source}"
        source.parent.mkdir(parents=True, exist_ok=True)
        target.rename(source)
        return None

    def __str__(self) -> str:
        return f"{self.source} -> {self.target}"


@dataclass(frozen=True)
class Repoint:
    """Change the artifact location of an experiment in a SQLite store.

    Attributes:
        store: file of the store, absolute.
        before: the location before.
        after: the new location.
    """

    store: str
    before: str
    after: str

    def do(self, client: MlflowClient | None) -> None:
        """Replace the location, and the artifact URIs below it."""
        repoint(Path(self.store), self.before, self.after)

    def undo(self, client: MlflowClient | None) -> str | None:
        """Restore the location before."""
        if not Path(self.store).exists():
            return f"{self.store} is not there any more"
        repoint(Path(self.store), self.after, self.before)
        return None

    def __str__(self) -> str:
        return f"{self.before} -> {self.after}"


# Each has `do`, and `undo`, which returns the reason if it cannot be undone.
Change = EndRun | SetDeleted | Move | Repoint
KINDS: dict[str, type[Change]] = {
    kind.__name__: kind for kind in (EndRun, SetDeleted, Move, Repoint)
}


def _connected(client: MlflowClient | None) -> MlflowClient:
    if client is None:
        raise TrackingUnavailable("the tracking store does not answer: try again later")
    return client


def _run(store: MlflowClient, run_id: str) -> Run | None:
    try:
        return store.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
