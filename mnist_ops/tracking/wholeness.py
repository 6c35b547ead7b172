"""Whether what a finished run says is all there, and agrees with itself."""

import io
import math
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import mlflow
import numpy as np
import requests
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.uri import is_local_uri

from mnist_ops import keys
from mnist_ops.tracking.search import search, tag

REQUIRED_METRICS = (keys.TEST_ACCURACY, keys.TEST_F1, keys.TRAIN_TIME_S, keys.FLOPS)
# Between the accuracy that was logged and that of the predictions: both are one division.
_SAME = 1e-6


@dataclass(frozen=True)
class Unreachable:
    """Why the artifacts of a run cannot be looked at from here, which says nothing of the run."""

    why: str


def finished_cells(client: MlflowClient) -> list[Run]:
    """Every FINISHED run of a cell that is not deleted."""
    is_cell = f"{tag(keys.FINGERPRINT)} LIKE '%' and attributes.status = 'FINISHED'"
    return list(search(client, is_cell))


def defect(run: Run) -> str | Unreachable | None:
    """What is missing or wrong in a finished run of a cell; None where nothing is."""
    absent = [
        name for name in REQUIRED_METRICS if not math.isfinite(run.data.metrics.get(name, math.nan))
    ]
    if absent:
        return f"no {', '.join(absent)}"
    content = _predictions_file(run)
    if isinstance(content, Unreachable):
        return content
    if content is None:
        return f"no {keys.PREDICTIONS}"
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            predicted, label = arrays["predicted"], arrays["label"]
            share = float(np.mean(predicted == label))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return f"{keys.PREDICTIONS} cannot be read"
    logged = run.data.metrics[keys.TEST_ACCURACY]
    if not abs(share - logged) < _SAME:
        return f"its predictions are right in {share:.4%}, it says {logged:.4%}"
    return None


def void(client: MlflowClient, run: Run, reason: str) -> None:
    """Have a run count for nothing, so that the next grid computes its cell again."""
    client.set_tag(run.info.run_id, keys.ERROR, reason)
    client.set_terminated(run.info.run_id, "KILLED", run.info.end_time)


def local_path(artifact_uri: str) -> Path | None:
    """The folder of artifacts that lie on this machine; None of others."""
    return Path(local_file_uri_to_path(artifact_uri)) if is_local_uri(artifact_uri) else None


def _predictions_file(run: Run) -> bytes | Unreachable | None:
    folder = local_path(run.info.artifact_uri)
    if folder is None:
        return _fetched(run.info.artifact_uri)
    try:
        return (folder / keys.PREDICTIONS).read_bytes()
    except FileNotFoundError:
        # <root>/<experiment>/<run>/artifacts: a root that is not here is another machine's.
        root = folder.parent.parent
        return None if root.is_dir() else Unreachable(f"{root} is not on this machine")
    except OSError as error:
        return Unreachable(f"{folder}: {error.strerror}")


def _fetched(artifact_uri: str) -> bytes | Unreachable | None:
    try:
        listed = mlflow.artifacts.list_artifacts(artifact_uri=artifact_uri)
        if keys.PREDICTIONS not in {file.path for file in listed}:
            return None
        path = mlflow.artifacts.download_artifacts(f"{artifact_uri.rstrip('/')}/{keys.PREDICTIONS}")
        return Path(path).read_bytes()
    except (MlflowException, requests.RequestException, OSError, ImportError) as error:
        return Unreachable(f"{artifact_uri}: {type(error).__name__}")
