"""Create rows that another process may create at the same moment."""

from collections.abc import Callable
from typing import TypeVar

from mlflow import MlflowClient
from mlflow.entities import Experiment
from mlflow.exceptions import MlflowException

T = TypeVar("T")


def retry_on_conflict(call: Callable[[], T]) -> T:
    """Return what `call` returns, called again where another process made the same row.

    MLflow looks whether a row is there, and then adds it. Of two that do so at once one fails with
    a broken constraint, and finds the row when it tries again.

    Raises:
        MlflowException: it fails for another reason, or again.
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
    """Return the experiment called `name`, deleted or not, and whether this call created it.

    Of several processes that create it at once one does, and all get the same.
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
