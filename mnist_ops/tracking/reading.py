"""Read runs back: what is finished, and what was measured."""

import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray

from mnist_ops import keys
from mnist_ops.tracking.search import search, tag


def finished(client: MlflowClient, study: str) -> dict[str, str]:
    """Fingerprint -> run id of every FINISHED cell of `study`, in any experiment."""
    filter_string = (
        f"{tag(keys.STUDY)} = '{study}' and attributes.status = 'FINISHED' "
        f"and {tag(keys.FINGERPRINT)} LIKE '%'"
    )
    found = search(client, filter_string)
    return {run.data.tags[keys.FINGERPRINT]: run.info.run_id for run in found}


def finished_of(client: MlflowClient, fingerprints: Iterable[str]) -> dict[str, Run]:
    """Fingerprint -> a FINISHED run, of those cells that have one."""
    found = {}
    for fingerprint in fingerprints:
        filter_string = (
            f"{tag(keys.FINGERPRINT)} = '{fingerprint}' and attributes.status = 'FINISHED'"
        )
        if run := next(search(client, filter_string), None):
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
            if run := next(search(client, filter_string), None):
                found[fingerprint] = run
    return found


def failed(client: MlflowClient, study: str) -> dict[str, str]:
    """Fingerprint -> reason of every cell of `study` that has a FAILED run."""
    filter_string = f"{tag(keys.STUDY)} = '{study}' and attributes.status = 'FAILED'"
    return {
        run.data.tags[keys.FINGERPRINT]: run.data.tags.get(keys.ERROR, "no reason was noted")
        for run in search(client, filter_string)
        if keys.FINGERPRINT in run.data.tags
    }


def cell_runs(client: MlflowClient) -> pd.DataFrame:
    """Every run of a cell in the store, whatever its experiment and status: one row a run.

    Columns: ``run_id, experiment_id, name, status, start_time, end_time`` (UTC), ``study``,
    ``fingerprint``, ``preset``, ``error``, ``git_commit``, ``time``, ``hardware_*`` and
    ``version_*`` from the tags, the params as the text that MLflow keeps, and the last value of
    each metric as float.
    """
    filter_string = f"{tag(keys.FINGERPRINT)} LIKE '%'"
    rows = [_row(run) for run in search(client, filter_string)]
    frame = pd.DataFrame(rows)
    for column in ("start_time", "end_time"):
        if column in frame:
            frame[column] = pd.to_datetime(frame[column], unit="ms", utc=True)
    return frame


def not_measured(client: MlflowClient) -> dict[str, str]:
    """Fingerprint -> reason of every cell that a grid said it could not run."""
    reasons: dict[str, str] = {}
    for run in search(client, f"{tag(keys.NOT_MEASURED)} LIKE '%'"):
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
