"""The changes of a fix, as data: each is recorded before it is made, and undone from its record.

A change is undone only where nothing else has changed the same thing since.
"""

from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from mnist_ops.core import keys
from mnist_ops.core.errors import TrackingUnavailable
from mnist_ops.tracking.artifacts import repoint
from mnist_ops.tracking.journal import now_ms


@dataclass(frozen=True)
class EndRun:
    """A run gets another status, and the error tag that says why.

    Attributes:
        run_id: of the run.
        name: of the run.
        status_before: MLflow's name of its status.
        status_after: likewise.
        end_before: milliseconds since the epoch; None of a run that was open.
        end_after: likewise.
        error_before: its error tag; None where it had none.
        error_after: likewise.
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
        """The change of `run` to KILLED; a run that has ended keeps its time."""
        info, error = run.info, run.data.tags.get(keys.ERROR)
        return cls(
            info.run_id,
            info.run_name,
            info.status,
            "KILLED",
            info.end_time,
            info.end_time or now_ms(),
            # The same reason on a run that has not that status: an earlier fix was interrupted.
            None if error == reason else error,
            reason,
        )

    def do(self, client: MlflowClient | None) -> None:
        """Set the tag, then the status."""
        store = _connected(client)
        store.set_tag(self.run_id, keys.ERROR, self.error_after)
        store.set_terminated(self.run_id, self.status_after, self.end_after)

    def undo(self, client: MlflowClient | None) -> str | None:
        """Set both to what they were; MLflow has no way to remove the end of an open run."""
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
    """A run or an experiment is deleted, as MLflow deletes, or restored.

    Attributes:
        what: ``run`` or ``experiment``.
        id: its id.
        name: its name.
        deleted: whether it is afterwards.
    """

    what: str
    id: str
    name: str
    deleted: bool

    def do(self, client: MlflowClient | None) -> None:
        """Delete or restore it, unless that is so already."""
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
    """A file or folder gets another place on its disk.

    Attributes:
        source: where it was, absolute.
        target: where it is afterwards, absolute.
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
    """A SQLite store looks for the artifacts of an experiment in another folder.

    Attributes:
        store: its file, absolute.
        before: the experiment's artifact location.
        after: its location afterwards.
    """

    store: str
    before: str
    after: str

    def do(self, client: MlflowClient | None) -> None:
        """Replace the location, and the artifact URIs below it."""
        repoint(Path(self.store), self.before, self.after)

    def undo(self, client: MlflowClient | None) -> str | None:
        """Put the location before back."""
        if not Path(self.store).exists():
            return f"{self.store} is not there any more"
        repoint(Path(self.store), self.after, self.before)
        return None

    def __str__(self) -> str:
        return f"{self.before} -> {self.after}"


# Each has `do`, and `undo`, which returns the reason where a change has to be left.
Change = EndRun | SetDeleted | Move | Repoint
KINDS: dict[str, type[Change]] = {
    kind.__name__: kind for kind in (EndRun, SetDeleted, Move, Repoint)
}


def _connected(client: MlflowClient | None) -> MlflowClient:
    if client is None:
        raise TrackingUnavailable("the tracking store cannot be reached: try again when it is")
    return client


def _run(store: MlflowClient, run_id: str) -> Run | None:
    try:
        return store.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
