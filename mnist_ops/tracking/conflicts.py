"""Create database rows that another process may create at the same time."""

from collections.abc import Callable
from typing import TypeVar

from mlflow import MlflowClient
from mlflow.entities import Experiment
from mlflow.exceptions import MlflowException

T = TypeVar("T")


def retry_on_conflict(call: Callable[[], T]) -> T:
    """Return the result of `call`; retry it once if another process created the same row.

    MLflow checks whether a row exists, and then adds it. Of two simultaneous processes one fails
    with a violated constraint, and finds the row when it tries again.

    Raises:
        MlflowException: the call fails for another reason, or again.
    """
    try:
        return call()
    except MlflowException as error:
        if error.error_code != "BAD_REQUEST":
            raise
    return call()


def find_or_create_experiment(
    client: MlflowClient, name: str, tags: dict[str, str] | None = None
) -> tuple[Experiment, bool]:
    """Return the experiment `name`, deleted or not, and whether this call created it.

    Of several simultaneous processes one creates it, and all return the same.
    """
    if found := client.get_experiment_by_name(name):
        return found, False
    try:
        return client.get_experiment(client.create_experiment(name, tags=tags)), True
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    found = client.get_experiment_by_name(name)
    assert found is not None
    return found, False
