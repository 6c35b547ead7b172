"""Read back what runs measured."""

import tempfile
from pathlib import Path

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from mnist_ops.core import keys
from mnist_ops.study import validity
from mnist_ops.study.specs import from_canonical
from mnist_ops.tracking.arrays import Predictions, read_predictions
from mnist_ops.tracking.artifacts import beside_store
from mnist_ops.tracking.checking import Invalid, LeftOut, cell_of, nobody
from mnist_ops.tracking.database import sqlite_path
from mnist_ops.tracking.queries import IS_CELL
from mnist_ops.tracking.search import points, search

_PARAMS = frozenset(validity.PARAMS) | {keys.DATA_PARTS, keys.PLAIN}
_METRICS = frozenset(validity.METRICS) | {keys.SHARED_TRAIN_TIME_S, keys.DUAL_COEFFICIENTS}


def cell_runs(
    client: MlflowClient, left_out: LeftOut = nobody, *, known_spec: bool = False
) -> pd.DataFrame:
    """Return every run of a cell in the store, in any experiment and status: one row a run.

    Columns: ``run_id, experiment_id, name, status, start_time, end_time`` (UTC), ``study``,
    ``fingerprint``, ``preset``, ``error``, ``git_commit``, ``time``, ``hardware_*`` and
    ``version_*`` from the tags, the params as the text that MLflow keeps, and the last value of
    each metric as float. Params and metrics of other names than the program's own are no columns.

    Args:
        client: of the store.
        left_out: gets a line on each run that is left out, as its values cannot be right.
        known_spec: only runs whose spec is known, so that they can be fitted again.
    """
    rows = []
    for run in search(client, IS_CELL, left_out):
        cell = cell_of(run, known_spec=known_spec)
        if isinstance(cell, Invalid):
            left_out(str(cell))
        elif known_spec and keys.SPEC not in run.data.tags:
            left_out(str(Invalid.of(run, "it has no spec to be fitted again")))
        else:
            rows.append(_row(run))
    frame = pd.DataFrame(rows)
    for column in ("start_time", "end_time"):
        if column in frame:
            frame[column] = pd.to_datetime(frame[column], unit="ms", utc=True)
    return frame


def predictions(client: MlflowClient, run_id: str) -> Predictions | None:
    """Return the test-set predictions of a run; None where it has none that can be read."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = _local(client, run_id) or Path(
                client.download_artifacts(run_id, keys.PREDICTIONS, folder)
            )
        except (MlflowException, OSError, ValueError):
            return None
        return read_predictions(path)


def history(client: MlflowClient, run_id: str, metric: str) -> list[tuple[int, float]]:
    """Return step and value of every point of a metric that a run logged, by step.

    A value that no measurement can give is left out.
    """
    found = [(point.step, point.value) for point in points(client, run_id, metric)]
    return sorted((step, value) for step, value in found if validity.is_measurement(value))


def epochs_of(client: MlflowClient, run_id: str) -> list[tuple[int, float]]:
    """Return each epoch that a run has logged: its number, and its end in seconds since 1970."""
    logged = points(client, run_id, keys.TRAIN_LOSS)
    return sorted((point.step, point.timestamp / 1000) for point in logged)


def _local(client: MlflowClient, run_id: str) -> Path | None:
    """Return the file of a run's predictions if the store is a file with artifacts beside it."""
    if sqlite_path(client.tracking_uri) is None:
        return None
    folder = beside_store(client, client.get_run(run_id).info.artifact_uri)
    return folder / keys.PREDICTIONS if folder else None


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
    row |= _spec_params(tags.get(keys.SPEC))
    # A param or a metric of any other name might stand for what the run is.
    row |= {name: text for name, text in run.data.params.items() if name in _PARAMS}
    return row | {name: value for name, value in run.data.metrics.items() if name in _METRICS}


def _spec_params(spec: str | None) -> dict[str, str]:
    """Return the params of a run by its spec, should the store have lost some."""
    if spec is None:
        return {}
    return {name: str(value) for name, value in from_canonical(spec).params.items()}
