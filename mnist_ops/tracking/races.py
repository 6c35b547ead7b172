"""Two writers, one row: what MLflow's database stores leave to those who call them."""

from collections.abc import Callable
from typing import TypeVar

from mlflow.exceptions import MlflowException

T = TypeVar("T")


def settled(call: Callable[[], T]) -> T:
    """What `call` gives, tried again where another writer made the same row at the same moment.

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
