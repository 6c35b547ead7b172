"""MLflow's client, with a check that responses are MLflow's.

Proxies, login pages and servers under maintenance respond ``200`` with JSON of their own. MLflow's
client fills in missing fields: an empty run id, no runs, no experiments. It cannot tell ``{}`` from
an empty list, since the protocol omits empty lists. So a response about an entity must have its id
or name, and an empty list is accepted only if it is returned again after the server has returned an
entity that exists.
"""

import re
from collections.abc import Callable
from typing import Any, TypeVar

from google.protobuf.json_format import ParseError
from mlflow import MlflowClient
from mlflow.entities import Experiment, FileInfo, Metric, Run
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.entities import PagedList
from mlflow.utils.uri import is_http_uri

T = TypeVar("T")

_RUN_ID = re.compile(r"[0-9a-f]{32}")
# Exceptions of MLflow's client on JSON of another shape.
_WRONG_SHAPE = (ParseError, ValueError, TypeError, AttributeError, KeyError)
# MLflow's default experiment, which exists even if it is marked as deleted.
_DEFAULT_EXPERIMENT = "0"


class CheckedClient(MlflowClient):
    """A client of one store that raises `MlflowException` if a response is not MLflow's."""

    def get_run(self, run_id: str) -> Run:
        """Return the run `run_id`, whose id the response must have."""
        run: Run = _shaped(super().get_run, run_id)
        _demand(run.info.run_id == run_id, f"run {run_id}")
        return run

    def create_run(self, experiment_id: str, *args: Any, **kwargs: Any) -> Run:
        """Create a run, whose id the response must have."""
        run: Run = _shaped(super().create_run, experiment_id, *args, **kwargs)
        _demand(bool(_RUN_ID.fullmatch(run.info.run_id or "")), "the run that was to be created")
        return run

    def search_runs(self, experiment_ids: list[str], *args: Any, **kwargs: Any) -> PagedList[Run]:
        """Return a page of runs; request an empty one again."""

        def ask() -> PagedList[Run]:
            return _shaped(super(CheckedClient, self).search_runs, experiment_ids, *args, **kwargs)

        return self._confirmed(ask, experiment_ids[0] if experiment_ids else _DEFAULT_EXPERIMENT)

    def get_experiment(self, experiment_id: str) -> Experiment:
        """Return the experiment `experiment_id`, whose id the response must have."""
        found: Experiment = _shaped(super().get_experiment, experiment_id)
        _demand(str(found.experiment_id) == str(experiment_id), f"experiment {experiment_id}")
        return found

    def get_experiment_by_name(self, name: str) -> Experiment | None:
        """Return the experiment `name`, whose name the response must have; None without one."""
        found: Experiment | None = _shaped(super().get_experiment_by_name, name)
        _demand(found is None or found.name == name, f"experiment {name!r}")
        return found

    def create_experiment(self, name: str, *args: Any, **kwargs: Any) -> str:
        """Create an experiment, whose id the response must have."""
        experiment_id: str = _shaped(super().create_experiment, name, *args, **kwargs)
        _demand(bool(experiment_id), f"experiment {name!r}, which was to be created")
        return experiment_id

    def search_experiments(self, *args: Any, **kwargs: Any) -> PagedList[Experiment]:
        """Return a page of experiments; request an empty one again."""

        def ask() -> PagedList[Experiment]:
            return _shaped(super(CheckedClient, self).search_experiments, *args, **kwargs)

        return self._confirmed(ask, _DEFAULT_EXPERIMENT)

    def get_metric_history(self, run_id: str, key: str) -> list[Metric]:
        """Return the points of a metric; accept none only if the run has no such metric."""
        points: list[Metric] = _shaped(super().get_metric_history, run_id, key)
        _demand(bool(points) or key not in self.get_run(run_id).data.metrics, f"metric {key}")
        return points

    def list_artifacts(self, run_id: str, path: str | None = None) -> list[FileInfo]:
        """List a folder of artifacts; request an empty list again."""

        def ask() -> list[FileInfo]:
            return _shaped(self._artifacts_of(run_id).list_artifacts, path)

        return ask() or (ask() if is_http_uri(self.tracking_uri) else [])

    def log_artifact(self, run_id: str, local_path: str, artifact_path: str | None = None) -> None:
        """Copy a file to the artifacts of a run."""
        self._artifacts_of(run_id).log_artifact(local_path, artifact_path)

    def download_artifacts(self, run_id: str, path: str, dst_path: str | None = None) -> str:
        """Download a file or folder of artifacts, and return where it is on this machine."""
        return str(_shaped(self._artifacts_of(run_id).download_artifacts, path, dst_path))

    def _artifacts_of(self, run_id: str) -> ArtifactRepository:
        # MLflow's client caches locations, invalid ones as well.
        uri = self.get_run(run_id).info.artifact_uri
        return get_artifact_repository(uri, tracking_uri=self.tracking_uri)

    def _confirmed(self, ask: Callable[[], PagedList[T]], experiment_id: str) -> PagedList[T]:
        found = ask()
        if found or not is_http_uri(self.tracking_uri):
            return found
        self.get_experiment(experiment_id)
        return ask()


def _shaped(call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    try:
        return call(*args, **kwargs)
    except _WRONG_SHAPE as error:
        raise MlflowException(
            f"the server gave an answer that is not MLflow's ({type(error).__name__})"
        ) from error


def _demand(holds: bool, what: str) -> None:
    if not holds:
        raise MlflowException(
            f"the server gave an answer that is not MLflow's: it does not name {what}; check the "
            "proxy between this machine and the server"
        )
