"""Read the params, metrics and predictions of runs."""

import json
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from mnist_ops.core import keys
from mnist_ops.study import validity
from mnist_ops.study.results import Predictions
from mnist_ops.study.specs import from_canonical
from mnist_ops.tracking import provenance, sqlite_runs
from mnist_ops.tracking.checking import Invalid, LeftOut, cell_of, fault, ignore
from mnist_ops.tracking.database import sqlite_path
from mnist_ops.tracking.moved_artifacts import beside_store
from mnist_ops.tracking.predictions_file import read_predictions
from mnist_ops.tracking.queries import IS_CELL
from mnist_ops.tracking.search import experiments, points, search

_PARAMS = frozenset(validity.PARAMS) | {keys.DATA_PARTS, keys.PLAIN}
_METRICS = frozenset(validity.METRICS) | {keys.SHARED_TRAIN_TIME_S, keys.DUAL_COEFFICIENTS}


def cell_runs(
    client: MlflowClient, left_out: LeftOut = ignore, *, known_spec: bool = False
) -> pd.DataFrame:
    """Return every run of a cell in the store, in any experiment and status: one row per run.

    Columns: ``run_id, experiment_id, name, status, start_time, end_time`` (UTC), ``study``,
    ``fingerprint``, ``preset``, ``error``, ``git_commit``, ``time``, ``until_decided``,
    ``hardware_*`` and ``version_*`` from the tags, ``instruction_set`` of the fits that depend on
    it, the params as the text that MLflow keeps, and the last value of each metric as float. Params
    and metrics of other names than the program's own are no columns.

    Args:
        client: of the store.
        left_out: gets a line on each run that is left out as invalid.
        known_spec: only runs with a known spec, which can be fitted again.
    """

    def valid() -> Iterator[Run]:
        for run in _cells(client, left_out):
            cell = cell_of(run, known_spec=known_spec)
            if isinstance(cell, Invalid):
                left_out(str(cell))
            elif known_spec and keys.SPEC not in run.data.tags:
                left_out(str(Invalid.of(run, "it has no spec, so it cannot be fitted again")))
            else:
                yield run

    return frame_of(valid())


def frame_of(runs: Iterable[Run]) -> pd.DataFrame:
    """Return valid runs of cells as a frame with the columns of `cell_runs`."""
    frame = pd.DataFrame(map(_row, runs))
    for column in ("start_time", "end_time"):
        if column in frame:
            frame[column] = pd.to_datetime(frame[column], unit="ms", utc=True)
    return frame


def _cells(client: MlflowClient, left_out: LeftOut) -> Iterator[Run]:
    seen: set[str] = set()
    if store := sqlite_path(client.tracking_uri):
        try:
            for run in sqlite_runs.cells(store, [e.experiment_id for e in experiments(client)]):
                seen.add(run.info.run_id)
                if wrong := fault(run):
                    left_out(str(wrong))
                else:
                    yield run
            return
        # Bare exceptions of MLflow's entities are among them. MLflow then finds what is wrong.
        except Exception:
            pass
    for run in search(client, IS_CELL, left_out):
        if run.info.run_id not in seen:
            yield run


def predictions(client: MlflowClient, run_id: str) -> Predictions | None:
    """Return the test-set predictions of a run; None if it has none that are valid."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = _local(client, run_id) or Path(
                client.download_artifacts(run_id, keys.PREDICTIONS, folder)
            )
        except (MlflowException, OSError, ValueError, sqlite3.Error):
            return None
        return read_predictions(path)


def history(client: MlflowClient, run_id: str, metric: str) -> list[tuple[int, float]]:
    """Return step and value of every logged point of a metric, sorted by step.

    Values that a measurement cannot have are left out.
    """
    return measured((point.step, point.value) for point in points(client, run_id, metric))


def measured(found: Iterable[tuple[int, float | None]]) -> list[tuple[int, float]]:
    """Return those steps and values that a measurement can have, sorted by step."""
    return sorted(
        (step, value)
        for step, value in found
        if value is not None and validity.is_measurement(value)
    )


def epochs_of(client: MlflowClient, run_id: str) -> list[tuple[int, float]]:
    """Return number and end time, in seconds since the epoch, of each logged epoch."""
    logged = points(client, run_id, keys.TRAIN_LOSS)
    return sorted((point.step, point.timestamp / 1000) for point in logged)


def _local(client: MlflowClient, run_id: str) -> Path | None:
    """Return the local file of a run's predictions; None if the store is not a SQLite file."""
    store = sqlite_path(client.tracking_uri)
    uri = sqlite_runs.artifact_uri(store, run_id) if store else None
    folder = beside_store(client, uri) if uri else None
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
        "until_decided": tags.get(keys.UNTIL_DECIDED),
    }
    for prefix, column in ((keys.HARDWARE, "hardware"), (keys.VERSION, "version")):
        row |= {
            f"{column}_{key.removeprefix(prefix + '.')}": value
            for key, value in tags.items()
            if key.startswith(prefix + ".")
        }
    spec = from_canonical(tags[keys.SPEC]) if keys.SPEC in tags else None
    if spec is not None:
        # The store may have lost some params.
        row |= {name: str(value) for name, value in spec.params.items() if name in _PARAMS}
        row |= {f"argument_{name}": json.dumps(value) for name, value in spec.arguments}
        row["family"] = spec.family
        row["instruction_set"] = provenance.instructions_of(tags, spec) or None
    # Only known names: others could overwrite columns that come from the tags.
    row |= {name: text for name, text in run.data.params.items() if name in _PARAMS}
    return row | {name: value for name, value in run.data.metrics.items() if name in _METRICS}
