"""Write runs: the parents of grids, and the cells below them."""

import io
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import RunTag
from mlflow.environment_variables import MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
from mlflow.utils.mlflow_tags import (
    MLFLOW_GIT_COMMIT,
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_RUN_NAME,
    MLFLOW_RUN_NOTE,
    MLFLOW_SOURCE_NAME,
    MLFLOW_USER,
)

from mnist_ops.core import keys
from mnist_ops.core.errors import MnistOpsError
from mnist_ops.core.redaction import redacted
from mnist_ops.study import dataset as datasets
from mnist_ops.study import lookup
from mnist_ops.study.results import EpochResult, FitResult
from mnist_ops.study.specs import Spec
from mnist_ops.tracking import provenance
from mnist_ops.tracking.conflicts import retry_on_conflict
from mnist_ops.tracking.confusion import confusion_svg
from mnist_ops.tracking.journal import Journal, now_ms
from mnist_ops.tracking.process_id import ProcessId
from mnist_ops.tracking.tracker import Tracker

# Prefix of the folders of the journals of grids.
PARENT_PREFIX = "grid-"

# Tag for MLflow's UI, which otherwise opens an experiment in its view for language models.
_EXPERIMENT_KIND = ("mlflow.experimentKind", "custom_model_development")


@dataclass(frozen=True)
class Parent:
    """The run under which others are nested."""

    run_id: str
    experiment_id: str


@dataclass(frozen=True)
class CellPlace:
    """Context of a cell's run, beside its spec.

    Attributes:
        parent: the grid's run.
        preset: value of the preset tag.
        dataset_digest: digest of the images.
        fit_group: key of the fit group.
        time: value of the time tag.
        forced: whether the run replaces finished ones of the cell.
        tags: further tags.
    """

    parent: Parent
    preset: str
    dataset_digest: str
    fit_group: str
    time: str
    forced: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)


def show_as_models(client: MlflowClient, experiment_id: str) -> None:
    """Make MLflow's UI open the experiment in its view for models, unless the tag is set."""
    key, kind = _EXPERIMENT_KIND
    if key not in client.get_experiment(experiment_id).tags:
        retry_on_conflict(lambda: client.set_experiment_tag(experiment_id, key, kind))


def open_parent(
    tracker: Tracker,
    *,
    name: str,
    note: str,
    role: str,
    tags: dict[str, str],
    experiment_id: str,
    run_id: str | None = None,
    parent: Parent | None = None,
) -> "ParentRun":
    """Open a parent run, or take over the run `run_id` as one.

    Args:
        tracker: of the store, which must be available: the children need the run's id.
        name: the run's name.
        note: its description, Markdown.
        role: one of the values of the role tag.
        tags: further tags.
        experiment_id: experiment of a new run.
        run_id: id of an existing run, see `destination.opened_for_us`.
        parent: parent of this run, if any.
    """
    client = tracker.client
    mark = uuid.uuid4().hex
    all_tags = {
        keys.ROLE: role,
        keys.OWNER: str(ProcessId.this_process()),
        keys.JOURNAL: mark,
        MLFLOW_RUN_NAME: name,
        MLFLOW_RUN_NOTE: note,
        **tags,
        **provenance.tags("cpu"),
    }
    if parent:
        all_tags[MLFLOW_PARENT_RUN_ID] = parent.run_id
    # Shows other machines that the process of the run is alive.
    tracker.claims.start_heartbeat()
    if run_id is None:
        run = client.create_run(experiment_id, tags=_own_tags() | all_tags, run_name=name)
    else:
        run = client.get_run(run_id)
        client.update_run(run_id, name=name)
        client.log_batch(run_id, tags=[RunTag(k, v) for k, v in all_tags.items()])
    experiment_id = run.info.experiment_id
    show_as_models(client, experiment_id)
    try:
        opened = ParentRun(tracker, Parent(run.info.run_id, experiment_id), mark)
    except MnistOpsError:
        # For example a full disk: end the run here, as it has no journal.
        client.set_terminated(run.info.run_id, "KILLED")
        raise
    if parent is None:
        opened.log_system_metrics()
    return opened


class ParentRun:
    """A parent run, whose end is uploaded later if the store is unavailable.

    Attributes:
        parent: its ids, for its children.
    """

    def __init__(self, tracker: Tracker, parent: Parent, mark: str):
        """Create the journal of the run `parent`, which has the journal tag `mark`."""
        self.parent = parent
        self._tracker = tracker
        self._journal = Journal(tracker.journals / f"{PARENT_PREFIX}{mark[:16]}")
        self._journal.append(
            "open",
            time=now_ms(),
            experiment_id=parent.experiment_id,
            name="",
            tags={keys.JOURNAL: mark},
            params={},
            forced=False,
        )
        self._journal.append("run", run_id=parent.run_id)
        tracker.uploader.add(self._journal, claimed=True)
        self._monitor: SystemMetricsMonitor | None = None

    def log_system_metrics(self) -> None:
        """Log the use of this machine until the run ends, if MLflow's variable asks for it."""
        if MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING.get():
            uri = self._tracker.address.uri
            self._monitor = SystemMetricsMonitor(self.parent.run_id, tracking_uri=uri)
            self._monitor.start()

    def note(self, tags: dict[str, str]) -> None:
        """Set tags."""
        self._journal.append("tags", values=tags)
        self._tracker.uploader.wake()

    def close(self, status: str, note: str) -> None:
        """End the run as ``FINISHED``, ``FAILED`` or ``KILLED``, with `note` as its description."""
        if self._monitor:
            self._monitor.finish()
        self.note({MLFLOW_RUN_NOTE: note})
        self._journal.append("end", status=status, time=now_ms())
        self._tracker.uploader.wake()


class CellRun:
    """The run of a cell, new or resumed.

    Attributes:
        segments: number of segments so far, this one included.
    """

    def __init__(self, tracker: Tracker, spec: Spec, place: CellPlace, *, claimed: bool):
        """Open the run, or resume that of an ended process of this machine.

        Args:
            tracker: of the store.
            spec: the cell.
            place: context of the run.
            claimed: whether this process has claimed the cell, and no other has finished it.

        Raises:
            JournalBusy: another process of this machine computes the cell.
            DiskFull: there is no room.
        """
        self._tracker = tracker
        self._spec = spec
        machine = provenance.arithmetic(spec.device)
        folder = tracker.journals / spec.fingerprint
        self._journal = tracker.open_journal(folder)
        opened = self._journal.opened
        if opened and (opened.get("machine") != machine or place.forced or self._is_over):
            tracker.retire(self._journal)
            self._journal = Journal(folder)
        belongs = {
            MLFLOW_PARENT_RUN_ID: place.parent.run_id,
            keys.OWNER: str(ProcessId.this_process()),
        }
        if self._journal.opened:
            self._journal.append("resume", time=now_ms(), tags=belongs)
        else:
            self._journal.append(
                "open",
                time=now_ms(),
                experiment_id=place.parent.experiment_id,
                name=spec.name,
                tags=_cell_tags(spec, place) | belongs,
                params={name: str(value) for name, value in spec.params.items()},
                dataset={
                    "name": spec.dataset,
                    "digest": place.dataset_digest,
                    "source_type": "code",
                    "source": json.dumps({"tags": {MLFLOW_SOURCE_NAME: "mnist_ops.data"}}),
                },
                machine=machine,
                forced=place.forced,
            )
        self.segments = self._journal.segments
        self._seen = self._journal.steps
        tracker.uploader.add(self._journal, claimed=claimed)

    @property
    def run_id(self) -> str | None:
        """Id in the store; None until the store has the run."""
        return self._journal.run_id

    def log_epoch(self, epoch: EpochResult) -> None:
        """Log the metrics of one epoch, with the epoch's number as step.

        An epoch that an earlier segment logged is not logged again.
        """
        if epoch.number not in self._seen:
            self._log(epoch.metrics, step=epoch.number)

    def finish(self, result: FitResult) -> None:
        """Log the result and its predictions, and end the run as FINISHED."""
        sizes = {
            keys.N_TRAIN: result.n_train,
            keys.N_VAL: result.n_val,
            keys.N_TEST: len(result.labels),
        }
        content = io.BytesIO()
        np.savez_compressed(
            content, predicted=result.predictions, label=result.labels, index=result.test_index
        )
        self._journal.add_artifact(keys.PREDICTIONS, content.getvalue())
        names = datasets.named(self._spec.dataset).class_names
        picture = confusion_svg(self._spec.description, names, result.labels, result.predictions)
        self._journal.add_artifact(keys.CONFUSION, picture.encode())
        self._journal.append("params", values={k: str(v) for k, v in sizes.items()})
        self._journal.append("tags", values={keys.SEGMENTS: str(self.segments)})
        last_epoch = {keys.TRAIN_LOSS, keys.VAL_ACCURACY, keys.TRAIN_TIME_S}
        logged = last_epoch if keys.TRAIN_LOSS in result.metrics else set()
        self._log({k: v for k, v in result.metrics.items() if k not in logged}, step=0)
        self._end("FINISHED")

    def fail(self, reason: str, trace: str) -> None:
        """End the run as FAILED, with the reason as a tag and the traceback as an artifact."""
        self._journal.add_artifact(keys.ERROR_TRACEBACK, redacted(trace).encode())
        self._journal.append("tags", values={keys.ERROR: redacted(reason)})
        self._end("FAILED")

    def stop(self, reason: str) -> None:
        """End the run as KILLED; it can be resumed later."""
        self._journal.append("tags", values={keys.ERROR: reason})
        self._end("KILLED")

    def leave(self) -> None:
        """Close the journal as it is, if not even the end can be written."""
        self._tracker.uploader.drop(self._journal)

    @property
    def _is_over(self) -> bool:
        return self._journal.status in ("FINISHED", "FAILED")

    def _log(self, metrics: dict[str, float], step: int) -> None:
        values = {name: float(value) for name, value in metrics.items()}
        self._journal.append("metrics", time=now_ms(), step=step, values=values)
        self._tracker.uploader.wake()

    def _end(self, status: str) -> None:
        self._journal.append("end", status=status, time=now_ms())
        self._tracker.uploader.wake()


def _cell_tags(spec: Spec, place: CellPlace) -> dict[str, str]:
    tags = {
        **_own_tags(),
        MLFLOW_RUN_NOTE: _cell_note(spec, place.preset),
        MLFLOW_SOURCE_NAME: _source(spec),
        keys.ROLE: keys.ROLE_CELL,
        keys.STUDY: spec.study,
        keys.FINGERPRINT: spec.fingerprint,
        keys.PRESET: place.preset,
        keys.SPEC: spec.canonical,
        keys.FIT_GROUP: place.fit_group,
        keys.TIME: place.time,
        keys.JOURNAL: uuid.uuid4().hex,
        **place.tags,
        **provenance.tags(spec.device),
    }
    return tags | {MLFLOW_GIT_COMMIT: tags[keys.GIT_COMMIT]}


def _source(spec: Spec) -> str:
    is_ours = spec.study in lookup.known("studies")
    return f"pipelines/{spec.study}.py" if is_ours else f"study {spec.study}"


def _own_tags() -> dict[str, str]:
    return {MLFLOW_USER: provenance.user(), MLFLOW_SOURCE_NAME: "mnist-ops"}


def _cell_note(spec: Spec, preset: str) -> str:
    return (
        f"**{spec.description}**\n\nOne cell of *{spec.study}* at preset *{preset}*. A finished "
        f"run with the fingerprint `{spec.fingerprint}` is not computed again."
    )
