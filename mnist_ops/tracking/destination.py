"""Choose the parent of a grid's runs: a run that ``mlflow run`` opened, or an experiment.

Shells, job scripts and services may keep ``MLFLOW_RUN_ID`` longer than its run. So its run is used
only if it is certainly the one that ``mlflow run`` has just opened.
"""

import os

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PROJECT_ENTRY_POINT

from mnist_ops.core.errors import InvalidInput, TrackingUnavailable
from mnist_ops.tracking.conflicts import find_or_create_experiment
from mnist_ops.tracking.database import first_line
from mnist_ops.tracking.tracker import Tracker

_RUN_ID = "MLFLOW_RUN_ID"
_EXPERIMENT_NAME = "MLFLOW_EXPERIMENT_NAME"
_EXPERIMENT_ID = "MLFLOW_EXPERIMENT_ID"
DEFAULT_EXPERIMENT = "mnist-ops"
_OURS = "mnist_ops."
_NOT_FOUND = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


def opened_for_us(tracker: Tracker) -> str | None:
    """Return the id of the run that ``mlflow run`` opened for this process; None without one.

    Raises:
        InvalidInput: ``MLFLOW_RUN_ID`` names another run, which stays unchanged.
    """
    run_id = os.environ.get(_RUN_ID, "").strip()
    if not run_id:
        return None
    found = _unfit(tracker.client, run_id)
    if not found and run_id not in tracker.claims.claim([run_id]):
        found = "a run that another process has taken over"
    # Checked again: another process may have had the claim, and ended, in between.
    if found := found or _unfit(tracker.client, run_id):
        raise InvalidInput(
            f"{_RUN_ID} is {run_id}, {found}, not one that `mlflow run` has just opened: unset "
            f"{_RUN_ID}"
        )
    return run_id


def experiment(client: MlflowClient, name: str | None = None) -> str:
    """Return the id of the experiment for new runs; create it if there is none.

    Args:
        client: of the store.
        name: of the experiment; None is the one that MLflow's variables name.

    Raises:
        InvalidInput: the variables name a missing experiment, or two different ones.
        TrackingUnavailable: it cannot be created, for example because it was deleted.
    """
    by_variable = os.environ.get(_EXPERIMENT_NAME, "").strip()
    if name is None and (experiment_id := os.environ.get(_EXPERIMENT_ID, "").strip()):
        return _by_id(client, experiment_id, by_variable)
    name = name or by_variable or DEFAULT_EXPERIMENT
    try:
        found, _ = find_or_create_experiment(client, name)
    except MlflowException as error:
        raise TrackingUnavailable(
            f"experiment {name!r} cannot be created: {first_line(error)}"
        ) from None
    if found.lifecycle_stage != "active":
        raise TrackingUnavailable(
            f"experiment {name!r} was deleted: restore it with `mlflow experiments restore "
            f"-x {found.experiment_id}`, or name another with --experiment"
        )
    return str(found.experiment_id)


def _by_id(client: MlflowClient, experiment_id: str, name: str) -> str:
    """Return `experiment_id` after checking that the experiment exists and has the given name."""
    problem = ""
    try:
        found = client.get_experiment(experiment_id)
    except MlflowException as error:
        if error.error_code not in _NOT_FOUND:
            raise
        problem = "which this store does not have"
    else:
        if found.lifecycle_stage != "active":
            problem = f"{found.name!r}, which was deleted"
        elif name and found.name != name:
            # MLflow refuses this as well.
            problem = f"{found.name!r}, and {_EXPERIMENT_NAME} is {name!r}"
    if problem:
        raise InvalidInput(
            f"{_EXPERIMENT_ID} is {experiment_id}, {problem}: unset {_EXPERIMENT_ID}, or name an "
            "experiment with --experiment"
        )
    return experiment_id


def _unfit(client: MlflowClient, run_id: str) -> str | None:
    """Return what the run is, unless it was just opened and is empty."""
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code in _NOT_FOUND:
            return "which this store does not have"
        raise
    name = f"the run {run.info.run_name!r}"
    if run.info.lifecycle_stage != "active":
        return f"{name}, which was deleted"
    if run.info.status != "RUNNING":
        return f"{name}, which is {run.info.status}"
    if MLFLOW_PROJECT_ENTRY_POINT not in run.data.tags:
        return f"{name}, which another program has opened"
    if run.data.metrics or any(tag.startswith(_OURS) for tag in run.data.tags):
        return f"{name}, which has results already"
    return None
