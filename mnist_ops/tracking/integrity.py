"""Check that a finished run is complete and consistent.

A file that is not found need not be lost: its location may be on another machine. It counts as lost
only if other artifacts are found at that location.
"""

import io
import math
import posixpath
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Run

from mnist_ops.core import keys
from mnist_ops.study.validity import is_measurement
from mnist_ops.tracking.moved_artifacts import beside_store
from mnist_ops.tracking.predictions_file import read_predictions

# Metrics of every finished run; the test accuracy is its result.
REQUIRED_METRICS = (keys.TEST_ACCURACY, keys.TEST_F1, keys.TRAIN_TIME_S, keys.FLOPS)
# Largest difference between the logged accuracy and that of the predictions, for rounding.
_SAME = 1e-6
# Failures after which an artifact store is not tried again: each may take a minute.
_TRIES = 3


class Missing(Enum):
    """A part that a finished run lacks."""

    # Its accuracy: it has no result.
    RESULT = auto()
    # Another metric, or predictions that match the accuracy: there is a result.
    PART = auto()
    # Unknown: its artifacts cannot be read from here.
    UNKNOWN = auto()


@dataclass(frozen=True)
class Defect:
    """A part that a finished run lacks, and the evidence."""

    missing_part: Missing
    why: str


def defects(client: MlflowClient, runs: Iterable[Run]) -> dict[str, Defect]:
    """Return the defects of finished runs of cells, by run id."""
    found: dict[str, Defect] = {}
    unlisted: dict[str, str] = {}
    seen_at: set[str] = set()
    failures: Counter[str] = Counter()
    for run in runs:
        run_id, root = run.info.run_id, _root(run)
        if missing := _missing_metrics(run):
            found[run_id] = missing
        elif failures[root] >= _TRIES:
            found[run_id] = Defect(Missing.UNKNOWN, f"{root} does not answer")
        elif isinstance(content := _predictions_file(client, run), Defect):
            found[run_id] = content
            failures[root] += content.missing_part is Missing.UNKNOWN
        elif content is None:
            unlisted[run_id] = root
        else:
            seen_at.add(root)
            if why := _disagreement(run, content):
                found[run_id] = Defect(Missing.PART, why)
    for run_id, root in unlisted.items():
        if root in seen_at:
            found[run_id] = Defect(Missing.PART, f"no {keys.PREDICTIONS}")
        else:
            found[run_id] = Defect(Missing.UNKNOWN, f"nothing is found in {root} from here")
    return found


def _root(run: Run) -> str:
    """Return the folder of the artifacts of all runs of its experiment."""
    return posixpath.dirname(posixpath.dirname(run.info.artifact_uri.rstrip("/")))


def _missing_metrics(run: Run) -> Defect | None:
    metrics = run.data.metrics
    absent = [n for n in REQUIRED_METRICS if not is_measurement(metrics.get(n, math.nan))]
    if not absent:
        return None
    missing_part = Missing.RESULT if keys.TEST_ACCURACY in absent else Missing.PART
    return Defect(missing_part, f"no {', '.join(absent)}")


def _disagreement(run: Run, content: bytes) -> str | None:
    found = read_predictions(io.BytesIO(content))
    if found is None:
        return f"{keys.PREDICTIONS} cannot be read"
    share = float(np.mean(found.predicted == found.label))
    logged = run.data.metrics[keys.TEST_ACCURACY]
    if not abs(share - logged) < _SAME:
        return f"its predictions are right for {share:.4%}, its logged accuracy is {logged:.4%}"
    return None


def _predictions_file(client: MlflowClient, run: Run) -> bytes | Defect | None:
    """Return the file, a defect if it is lost or unreadable, or None if no artifact is found."""
    folder = beside_store(client, run.info.artifact_uri)
    if folder is None:
        return _fetched(client, run)
    try:
        return (folder / keys.PREDICTIONS).read_bytes()
    except FileNotFoundError:
        # A missing folder may have been moved, or be on another machine.
        if folder.parent.is_dir():
            return Defect(Missing.PART, f"no {keys.PREDICTIONS}")
        return Defect(Missing.UNKNOWN, f"{folder.parent.parent} on this machine does not have it")
    except OSError as error:
        return Defect(Missing.UNKNOWN, f"{folder}: {error.strerror}")


def _fetched(client: MlflowClient, run: Run) -> bytes | Defect | None:
    try:
        listed = {file.path for file in client.list_artifacts(run.info.run_id)}
        if keys.PREDICTIONS not in listed:
            return Defect(Missing.PART, f"no {keys.PREDICTIONS}") if listed else None
        with tempfile.TemporaryDirectory() as folder:
            path = client.download_artifacts(run.info.run_id, keys.PREDICTIONS, folder)
            return Path(path).read_bytes()
    except Exception as error:
        # MLflow, its HTTP client and the libraries of clouds raise exceptions of their own.
        return Defect(Missing.UNKNOWN, f"{_root(run)}: {type(error).__name__}")
