"""Experiments by name, of which a store has one each, whoever makes it."""

from mlflow import MlflowClient
from mlflow.entities import Experiment
from mlflow.exceptions import MlflowException


def find_or_make(
    client: MlflowClient, name: str, tags: dict[str, str] | None = None
) -> tuple[Experiment, bool]:
    """The experiment called `name`, deleted or not, and whether this call has made it.

    Of several processes that make it at once one does, and all get the same.
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
