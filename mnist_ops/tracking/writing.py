"""Write runs: the parents of grids, and the cells below them."""

import getpass
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import (
    MLFLOW_GIT_COMMIT,
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_RUN_NAME,
    MLFLOW_RUN_NOTE,
    MLFLOW_SOURCE_NAME,
    MLFLOW_USER,
)

from mnist_ops import keys, provenance
from mnist_ops.errors import TrackingUnavailable
from mnist_ops.results import EpochResult, FitResult
from mnist_ops.specs import Spec
from mnist_ops.tracking.search import search, tag
from mnist_ops.tracking.store import first_line

# Without this tag MLflow's UI opens an experiment in its view for language model traces.
_EXPERIMENT_KIND = ("mlflow.experimentKind", "custom_model_development")


@dataclass(frozen=True)
class Parent:
    """The run under which others are nested."""

    run_id: str
    experiment_id: str


def experiment(client: MlflowClient, name: str) -> str:
    """The id of the experiment called `name`, created where there is none.

    Raises:
        TrackingUnavailable: it cannot be created, for example since it was deleted.
    """
    found = client.get_experiment_by_name(name)
    try:
        experiment_id = found.experiment_id if found else client.create_experiment(name)
        if found and found.lifecycle_stage != "active":
            raise TrackingUnavailable(
                f"experiment {name!r} was deleted: restore it with `mlflow experiments restore "
                f"-x {experiment_id}`, or name another with --experiment"
            )
    except MlflowException as error:
        raise TrackingUnavailable(
            f"experiment {name!r} cannot be created: {first_line(error)}"
        ) from None
    return str(experiment_id)


def open_parent(
    client: MlflowClient,
    *,
    name: str,
    note: str,
    role: str,
    tags: dict[str, str],
    experiment_id: str,
    run_id: str | None = None,
    parent: Parent | None = None,
) -> Parent:
    """Open the run that others are nested under, or take over `run_id` as that run.

    Args:
        client: of the store.
        name: the run's name.
        note: its description, Markdown.
        role: one of the values of the role tag.
        tags: further tags.
        experiment_id: where a new run goes.
        run_id: a run that exists, as ``mlflow run`` leaves one.
        parent: the run that this one is nested under.
    """
    all_tags = {
        keys.ROLE: role,
        MLFLOW_RUN_NAME: name,
        MLFLOW_RUN_NOTE: note,
        **tags,
        **provenance.tags("cpu"),
    }
    if parent:
        all_tags[MLFLOW_PARENT_RUN_ID] = parent.run_id
    if run_id is None:
        run = client.create_run(experiment_id, tags=_own_tags() | all_tags, run_name=name)
    else:
        run = client.get_run(run_id)
        client.update_run(run_id, name=name)
        client.log_batch(run_id, tags=[RunTag(k, v) for k, v in all_tags.items()])
    experiment_id = run.info.experiment_id
    key, kind = _EXPERIMENT_KIND
    if key not in client.get_experiment(experiment_id).tags:
        client.set_experiment_tag(experiment_id, key, kind)
    return Parent(run.info.run_id, experiment_id)


def close_parent(client: MlflowClient, parent: Parent, status: str, note: str) -> None:
    """End a parent run, and with it every run right below that is still open.

    Args:
        client: of the store.
        parent: the run to end.
        status: ``FINISHED``, ``FAILED`` or ``KILLED``.
        note: the final description.
    """
    children = f"{tag(MLFLOW_PARENT_RUN_ID)} = '{parent.run_id}'"
    for run in search(client, f"{children} and attributes.status = 'RUNNING'"):
        client.set_tag(run.info.run_id, keys.ERROR, "the grid ended before this cell did")
        client.set_terminated(run.info.run_id, "KILLED")
    client.set_tag(parent.run_id, MLFLOW_RUN_NOTE, note)
    client.set_terminated(parent.run_id, status)


def note_not_measured(client: MlflowClient, parent: Parent, reasons: dict[str, str]) -> None:
    """Record on the parent why cells have no run: fingerprint -> reason."""
    client.set_tag(parent.run_id, keys.NOT_MEASURED, json.dumps(reasons, sort_keys=True))


class CellRun:
    """One cell's run, from its start to its end."""

    def __init__(
        self,
        client: MlflowClient,
        spec: Spec,
        parent: Parent,
        preset: str,
        dataset_digest: str,
        trajectory: str,
        *,
        time_is_measured: bool,
    ):
        """Open the run under `parent` and log what was asked for.

        Args:
            client: of the store.
            spec: the cell.
            parent: the grid's run.
            preset: value of the preset tag.
            dataset_digest: names the very images that the cell draws from.
            trajectory: names the fit that gives the result; several cells may share it.
            time_is_measured: whether that fit is this cell's own, and so its times too.
        """
        self._client = client
        tags = {
            **_own_tags(),
            MLFLOW_PARENT_RUN_ID: parent.run_id,
            MLFLOW_RUN_NOTE: _cell_note(spec, preset),
            MLFLOW_SOURCE_NAME: f"pipelines/{spec.study}.py",
            keys.ROLE: keys.ROLE_CELL,
            keys.STUDY: spec.study,
            keys.FINGERPRINT: spec.fingerprint,
            keys.PRESET: preset,
            keys.SPEC: spec.canonical,
            keys.TRAJECTORY: trajectory,
            keys.TIME: keys.TIME_MEASURED if time_is_measured else keys.TIME_ATTRIBUTED,
            **provenance.tags(spec.device),
        }
        tags[MLFLOW_GIT_COMMIT] = tags[keys.GIT_COMMIT]
        run = client.create_run(parent.experiment_id, tags=tags, run_name=spec.name)
        self.run_id = run.info.run_id
        self._start = time.perf_counter()
        client.log_batch(
            self.run_id, params=[Param(name, str(value)) for name, value in spec.params.items()]
        )
        dataset = Dataset(
            name=spec.dataset,
            digest=dataset_digest,
            source_type="code",
            source=json.dumps({"tags": {MLFLOW_SOURCE_NAME: "mnist_ops.data"}}),
        )
        context = InputTag("mlflow.data.context", "training")
        client.log_inputs(self.run_id, [DatasetInput(dataset, [context])])

    def log_epoch(self, epoch: EpochResult) -> None:
        """Log the metrics of one epoch, at the epoch's number as step."""
        self._log(epoch.metrics, step=epoch.number)

    def finish(self, result: FitResult) -> None:
        """Log the result with its predictions, and end the run as FINISHED."""
        sizes = {
            keys.N_TRAIN: result.n_train,
            keys.N_VAL: result.n_val,
            keys.N_TEST: len(result.labels),
        }
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / keys.PREDICTIONS
            np.savez_compressed(
                path, predicted=result.predictions, label=result.labels, index=result.test_index
            )
            self._client.log_artifact(self.run_id, str(path))
        last_epoch = {keys.TRAIN_LOSS, keys.VAL_ACCURACY, keys.TRAIN_TIME_S}
        logged = last_epoch if keys.TRAIN_LOSS in result.metrics else set()
        self._log(
            {name: value for name, value in result.metrics.items() if name not in logged},
            params=[Param(name, str(value)) for name, value in sizes.items()],
        )
        self._client.set_terminated(self.run_id, "FINISHED")

    def fail(self, reason: str, trace: str) -> None:
        """End the run as FAILED: the reason as a tag, the traceback as an artifact."""
        self._client.set_tag(self.run_id, keys.ERROR, reason)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / keys.ERROR_TRACEBACK
            path.write_text(trace)
            self._client.log_artifact(self.run_id, str(path))
        self._client.set_terminated(self.run_id, "FAILED")

    def _log(
        self, metrics: dict[str, float], step: int = 0, params: list[Param] | None = None
    ) -> None:
        now = int(time.time() * 1000)
        self._client.log_batch(
            self.run_id,
            metrics=[Metric(name, float(value), now, step) for name, value in metrics.items()],
            params=params or [],
        )


def _own_tags() -> dict[str, str]:
    return {MLFLOW_USER: getpass.getuser(), MLFLOW_SOURCE_NAME: "mnist-ops"}


def _cell_note(spec: Spec, preset: str) -> str:
    return (
        f"**{spec.description}**\n\nOne cell of *{spec.study}* at preset *{preset}*. A finished "
        f"run with the fingerprint `{spec.fingerprint}` is not computed again."
    )
