"""Read runs back: what is finished, and what was measured."""

import json
import tempfile
from collections.abc import Iterable, Iterator
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
from mnist_ops.tracking.checking import Invalid, LeftOut, cell_of, nobody, valid_cells
from mnist_ops.tracking.database import sqlite_path
from mnist_ops.tracking.search import points, search, tag

_PARAMS = frozenset(validity.PARAMS) | {keys.DATA_PARTS, keys.PLAIN}
_METRICS = frozenset(validity.METRICS) | {keys.SHARED_TRAIN_TIME_S, keys.DUAL_COEFFICIENTS}


def finished(client: MlflowClient, study: str, left_out: LeftOut = nobody) -> dict[str, str]:
    """Fingerprint -> run id of every FINISHED cell of `study`, in any experiment."""
    filter_string = (
        f"{tag(keys.STUDY)} = '{study}' and attributes.status = 'FINISHED' "
        f"and {tag(keys.FINGERPRINT)} LIKE '%'"
    )
    found = search(client, filter_string, left_out)
    return {cell: run.info.run_id for cell, run in valid_cells(found, left_out)}


def finished_runs(client: MlflowClient, fingerprint: str) -> Iterator[Run]:
    """The FINISHED runs of a cell: those that claim it and are of it."""
    filter_string = f"{tag(keys.FINGERPRINT)} = '{fingerprint}' and attributes.status = 'FINISHED'"
    found = valid_cells(search(client, filter_string))
    # An answer to another question names other cells.
    return (run for cell, run in found if cell == fingerprint)


def finished_of(client: MlflowClient, fingerprints: Iterable[str]) -> dict[str, Run]:
    """Fingerprint -> a FINISHED run, of those cells that have one."""
    found = {}
    for fingerprint in fingerprints:
        if run := next(finished_runs(client, fingerprint), None):
            found[fingerprint] = run
    return found


def ended_of(client: MlflowClient, fingerprints: Iterable[str], since: int) -> dict[str, Run]:
    """Fingerprint -> a run that decides its cell: FINISHED, or FAILED after `since`.

    Args:
        client: of the store.
        fingerprints: of the cells asked for.
        since: milliseconds since the epoch.
    """
    asked = list(fingerprints)
    found = finished_of(client, asked)
    for fingerprint in asked:
        if fingerprint not in found:
            filter_string = (
                f"{tag(keys.FINGERPRINT)} = '{fingerprint}' and attributes.status = 'FAILED' "
                f"and attributes.end_time > {since}"
            )
            if ended := next(valid_cells(search(client, filter_string)), None):
                found[fingerprint] = ended[1]
    return found


def failed(client: MlflowClient, study: str) -> dict[str, str]:
    """Fingerprint -> reason of every cell of `study` that has a FAILED run."""
    filter_string = (
        f"{tag(keys.STUDY)} = '{study}' and attributes.status = 'FAILED' "
        f"and {tag(keys.FINGERPRINT)} LIKE '%'"
    )
    return {
        cell: run.data.tags.get(keys.ERROR, "no reason was noted")
        for cell, run in valid_cells(search(client, filter_string))
    }


def cell_runs(
    client: MlflowClient, left_out: LeftOut = nobody, *, known_spec: bool = False
) -> pd.DataFrame:
    """Every run of a cell in the store, whatever its experiment and status: one row a run.

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
    for run in search(client, f"{tag(keys.FINGERPRINT)} LIKE '%'", left_out):
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


def not_measured(client: MlflowClient, left_out: LeftOut = nobody) -> dict[str, str]:
    """Fingerprint -> reason of every cell that a grid said it could not run."""
    reasons: dict[str, str] = {}
    for run in search(client, f"{tag(keys.NOT_MEASURED)} LIKE '%'", left_out):
        try:
            noted = json.loads(run.data.tags[keys.NOT_MEASURED])
            reasons |= {_label(cell): _reason(reason) for cell, reason in noted.items()}
        except (ValueError, AttributeError, RecursionError):
            left_out(str(Invalid.of(run, f"its tag {keys.NOT_MEASURED} is no list of reasons")))
    return reasons


def predictions(client: MlflowClient, run_id: str) -> Predictions | None:
    """The test-set predictions of a run; None where it has none that can be read."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = _local(client, run_id) or Path(
                client.download_artifacts(run_id, keys.PREDICTIONS, folder)
            )
        except (MlflowException, OSError, ValueError):
            return None
        return read_predictions(path)


def history(client: MlflowClient, run_id: str, metric: str) -> list[tuple[int, float]]:
    """Step and value of every point of a metric that a run logged, by step.

    What is no number, or larger than any measurement, is no point.
    """
    found = [(point.step, point.value) for point in points(client, run_id, metric)]
    return sorted((step, value) for step, value in found if validity.is_measurement(value))


def _local(client: MlflowClient, run_id: str) -> Path | None:
    """The file of a run's predictions, where the store is a file whose artifacts are here."""
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
    """The params of a run by its spec, should the store have lost some."""
    if spec is None:
        return {}
    return {name: str(value) for name, value in from_canonical(spec).params.items()}


def _label(value: str) -> str:
    if not value or not value.isprintable():
        raise ValueError
    return value


def _reason(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError
    return value
