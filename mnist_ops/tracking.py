"""The only file that writes to or reads from MLflow.

Runs are addressed by explicit ids through `MlflowClient`, never through MLflow's active run: the
first ``start_run`` of a process would take over the run that ``mlflow run`` opened.
"""

import getpass
import json
import logging
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit
from zipfile import BadZipFile

import mlflow
import numpy as np
import pandas as pd
import requests
from mlflow import MlflowClient
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    Metric,
    Param,
    Run,
    RunTag,
    ViewType,
)
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import (
    MLFLOW_GIT_COMMIT,
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_RUN_NAME,
    MLFLOW_RUN_NOTE,
    MLFLOW_SOURCE_NAME,
    MLFLOW_USER,
)
from numpy.typing import NDArray
from sqlalchemy.exc import SQLAlchemyError

from mnist_ops import keys, provenance
from mnist_ops.errors import TrackingUnavailable
from mnist_ops.results import EpochResult, FitResult
from mnist_ops.specs import Spec

EXPERIMENT = "mnist-ops"
CONNECT_TIMEOUT_S = 5
# What a store raises that worked when it was connected to.
STORE_ERRORS = (MlflowException, SQLAlchemyError, requests.RequestException)
_PAGE = 1000
_SQLITE = "sqlite:///"

# Without this tag MLflow's UI opens an experiment in its view for language model traces.
_EXPERIMENT_KIND = ("mlflow.experimentKind", "custom_model_development")


def default_uri() -> str:
    """MLflow's own tracking URI, a SQLite path made absolute so that workers see the same file."""
    uri = mlflow.get_tracking_uri()
    if uri.startswith(_SQLITE):
        return _SQLITE + str(_sqlite_path(uri))
    return uri


def connect(uri: str, *, create: bool = True) -> MlflowClient:
    """A client of the store at `uri`, after its schema exists and it has answered once.

    Several processes that open a fresh SQLite store at once break its migration, so the one that
    starts the others connects first.

    Args:
        uri: tracking URI.
        create: whether a SQLite store that is not there yet is created.

    Raises:
        TrackingUnavailable: the store does not answer, is not MLflow's, or has another schema.
    """
    # What MLflow logs of an error, pages of SQL, it raises too, and that is told in one line.
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    shown = without_password(uri)
    try:
        if uri.startswith(_SQLITE):
            _check_sqlite(_sqlite_path(uri), create=create)
        elif uri.startswith(("http://", "https://")):
            requests.get(uri.rstrip("/") + "/health", timeout=CONNECT_TIMEOUT_S)
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
    except requests.RequestException:
        raise TrackingUnavailable(
            f"the tracking server at {shown} does not answer: start it, or set "
            "MLFLOW_TRACKING_URI to one that runs"
        ) from None
    except ImportError as error:
        raise TrackingUnavailable(
            f"the tracking store {shown} needs the Python package {error.name}: install it"
        ) from None
    except (MlflowException, SQLAlchemyError, OSError, ValueError) as error:
        raise TrackingUnavailable(
            f"the tracking store {shown} cannot be used: {_first_line(error)}"
        ) from None
    return client


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
            f"experiment {name!r} cannot be created: {_first_line(error)}"
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
    filter_string = f"tags.{_quoted(MLFLOW_PARENT_RUN_ID)} = '{parent.run_id}'"
    for run in _search(client, f"{filter_string} and attributes.status = 'RUNNING'"):
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


def finished(client: MlflowClient, study: str) -> dict[str, str]:
    """Fingerprint -> run id of every FINISHED cell of `study`, in any experiment."""
    filter_string = (
        f"tags.{_quoted(keys.STUDY)} = '{study}' and attributes.status = 'FINISHED' "
        f"and tags.{_quoted(keys.FINGERPRINT)} LIKE '%'"
    )
    found = _search(client, filter_string)
    return {run.data.tags[keys.FINGERPRINT]: run.info.run_id for run in found}


def cell_runs(client: MlflowClient) -> pd.DataFrame:
    """Every run of a cell in the store, whatever its experiment and status: one row a run.

    Columns: ``run_id, experiment_id, name, status, start_time, end_time`` (UTC), ``study``,
    ``fingerprint``, ``preset``, ``error``, ``git_commit``, ``time``, ``hardware_*`` and
    ``version_*`` from the tags, the params typed as in the specs, and the last value of each metric
    as float.
    """
    filter_string = f"tags.{_quoted(keys.FINGERPRINT)} LIKE '%'"
    rows = [_row(run) for run in _search(client, filter_string)]
    frame = pd.DataFrame(rows)
    for column in ("start_time", "end_time"):
        if column in frame:
            frame[column] = pd.to_datetime(frame[column], unit="ms", utc=True)
    return _typed(frame)


def not_measured(client: MlflowClient) -> dict[str, str]:
    """Fingerprint -> reason of every cell that a grid said it could not run."""
    reasons: dict[str, str] = {}
    for run in _search(client, f"tags.{_quoted(keys.NOT_MEASURED)} LIKE '%'"):
        try:
            noted = json.loads(run.data.tags[keys.NOT_MEASURED])
        except json.JSONDecodeError:
            continue
        reasons |= {str(k): str(v) for k, v in noted.items()} if isinstance(noted, dict) else {}
    return reasons


@dataclass(frozen=True)
class Predictions:
    """What a run predicted for its test images.

    Attributes:
        predicted: uint8, shape (n_test,).
        label: uint8, shape (n_test,): the true classes.
        index: int32, shape (n_test,): which of the pooled images each is.
    """

    predicted: NDArray[np.uint8]
    label: NDArray[np.uint8]
    index: NDArray[np.int32]


def predictions(client: MlflowClient, run_id: str) -> Predictions | None:
    """The test-set predictions of a run; None where it has none that can be read."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = client.download_artifacts(run_id, keys.PREDICTIONS, folder)
            with np.load(path, allow_pickle=False) as arrays:
                return Predictions(arrays["predicted"], arrays["label"], arrays["index"])
        except (MlflowException, OSError, ValueError, KeyError, BadZipFile):
            return None


def history(client: MlflowClient, run_id: str, metric: str) -> list[tuple[int, float]]:
    """Step and value of every point of a metric that a run logged, by step."""
    points = client.get_metric_history(run_id, metric)
    return sorted((point.step, point.value) for point in points)


@contextmanager
def tracking_errors(uri: str) -> Iterator[None]:
    """Turn what MLflow raises while the store fails into one line."""
    try:
        yield
    except STORE_ERRORS as error:
        raise TrackingUnavailable(
            f"the tracking store {without_password(uri)} failed: {_first_line(error)}"
        ) from error


def without_password(uri: str) -> str:
    """`uri` with the password, if it has one, replaced by ``***``."""
    try:
        password = urlsplit(uri).password
    except ValueError:
        return "(a URI that cannot be read)"
    return uri.replace(f":{password}@", ":***@", 1) if password else uri


_INTEGERS = (
    keys.BATCH_SIZE,
    keys.EPOCHS,
    keys.SEED,
    keys.DEGREE,
    keys.N_TRAIN,
    keys.N_VAL,
    keys.N_TEST,
)
_NUMBERS = (keys.LEARNING_RATE, keys.MOMENTUM, keys.C)
_BOOLEANS = (keys.PIN_MEMORY, keys.AMP)


def _row(run: Run) -> dict[str, object]:
    tags = run.data.tags
    row: dict[str, object] = {
        "run_id": run.info.run_id,
        "experiment_id": run.info.experiment_id,
        "name": run.info.run_name,
        "status": run.info.status,
        "start_time": run.info.start_time,
        "end_time": run.info.end_time,
        "study": tags.get(keys.STUDY),
        "fingerprint": tags.get(keys.FINGERPRINT),
        "preset": tags.get(keys.PRESET),
        "error": tags.get(keys.ERROR),
        "git_commit": tags.get(keys.GIT_COMMIT),
        "time": tags.get(keys.TIME),
    }
    for prefix, column in ((keys.HARDWARE, "hardware"), (keys.VERSION, "version")):
        row |= {
            f"{column}_{key.removeprefix(prefix + '.')}": value
            for key, value in tags.items()
            if key.startswith(prefix + ".")
        }
    return row | run.data.params | run.data.metrics


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    for column in frame.columns.intersection([*_INTEGERS, *_NUMBERS]):
        numbers = pd.to_numeric(frame[column], errors="coerce")
        frame[column] = numbers.astype("Int64") if column in _INTEGERS else numbers
    for column in frame.columns.intersection(list(_BOOLEANS)):
        frame[column] = (
            frame[column].str.lower().map({"true": True, "false": False}).astype("boolean")
        )
    return frame


def _search(client: MlflowClient, filter_string: str) -> Iterator[Run]:
    experiments: list[str] = []
    token = None
    while True:
        page = client.search_experiments(max_results=_PAGE, page_token=token)
        experiments += [found.experiment_id for found in page]
        if not (token := page.token):
            break
    while True:
        runs = client.search_runs(
            experiments,
            filter_string,
            run_view_type=ViewType.ACTIVE_ONLY,
            max_results=_PAGE,
            page_token=token,
        )
        yield from runs
        if not (token := runs.token):
            return


def _check_sqlite(path: Path, *, create: bool) -> None:
    """Refuse a file that is not an MLflow store before MLflow writes its tables into it."""
    if not path.exists():
        if not create:
            raise TrackingUnavailable(
                f"there is no tracking store at {path}: run `mnist-ops run all --preset quick` "
                "first, or set MLFLOW_TRACKING_URI"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        return
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            rows = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            tables = {name for (name,) in rows}
    except sqlite3.Error as error:
        raise TrackingUnavailable(
            f"the tracking store {path} cannot be read: {error}; move the file away, or set "
            "MLFLOW_TRACKING_URI to another"
        ) from None
    if tables and not {"alembic_version", "experiments", "runs"} <= tables:
        raise TrackingUnavailable(
            f"{path} is a database of another program, not an MLflow store: move it away, or set "
            "MLFLOW_TRACKING_URI to another"
        )


def _sqlite_path(uri: str) -> Path:
    return Path(unquote(uri.removeprefix(_SQLITE))).absolute()


def _own_tags() -> dict[str, str]:
    return {MLFLOW_USER: getpass.getuser(), MLFLOW_SOURCE_NAME: "mnist-ops"}


def _cell_note(spec: Spec, preset: str) -> str:
    return (
        f"**{spec.description}**\n\nOne cell of *{spec.study}* at preset *{preset}*. A finished "
        f"run with the fingerprint `{spec.fingerprint}` is not computed again."
    )


def _quoted(key: str) -> str:
    return f"`{key}`"


def _first_line(error: Exception) -> str:
    """The part of a store's error that helps, of what may be a page of SQL."""
    text = str(error).strip()
    if "disk is full" in text or "No space left" in text:
        return "its disk is full; make room, and the same command goes on"
    return text.splitlines()[0] if text else type(error).__name__
