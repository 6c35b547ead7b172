"""Page through the runs and experiments of a store, even if it cannot read some of them."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from mlflow import MlflowClient
from mlflow.entities import Experiment, Metric, Run, ViewType
from mlflow.exceptions import MlflowException

from mnist_ops.tracking.checking import LeftOut, fault, ignore

T = TypeVar("T")

PAGE = 1000
_HEX = "0123456789abcdef"
# Number of digits of a run's id that identify it, as shown to users.
_DIGITS = 8
# Errors about the request rather than about the content of the store.
_REFUSALS = (
    "INVALID_PARAMETER_VALUE",
    "RESOURCE_DOES_NOT_EXIST",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
)


def search(
    client: MlflowClient,
    filter_string: str,
    left_out: LeftOut = ignore,
    experiment_id: str | None = None,
) -> Iterator[Run]:
    """Yield every active run that matches MLflow's `filter_string`.

    Runs with an invalid status, time or text (see `checking.fault`) and runs that the store cannot
    read are left out.

    Args:
        client: of the store.
        filter_string: in MLflow's syntax.
        left_out: gets a line on each run that is left out.
        experiment_id: only runs of this experiment; None is all experiments.
    """
    where = [experiment_id] if experiment_id else [e.experiment_id for e in experiments(client)]
    for run in _readable(client, where, filter_string, left_out):
        if wrong := fault(run):
            left_out(str(wrong))
        else:
            yield run


def experiments(client: MlflowClient, view: int = ViewType.ACTIVE_ONLY) -> Iterator[Experiment]:
    """Yield every experiment of the store that `view` includes."""
    token = None
    while True:
        page = client.search_experiments(view, max_results=PAGE, page_token=token)
        yield from page
        if not (token := page.token):
            return


def points(client: MlflowClient, run_id: str, metric: str) -> list[Metric]:
    """Return the logged points of a metric; an empty list if the store cannot read them."""
    try:
        return list(_at_once(client, lambda: client.get_metric_history(run_id, metric)))
    except _Unreadable:
        return []


def tag(key: str) -> str:
    """Return a tag as written in a filter string, quoted since its name has dots."""
    return f"tags.`{key}`"


class _Unreadable(Exception):
    """The store is available, but cannot read some of its content."""


def _readable(
    client: MlflowClient, experiments: list[str], filter_string: str, left_out: LeftOut
) -> Iterator[Run]:
    seen: set[str] = set()
    try:
        for run in _pages(client, experiments, filter_string):
            seen.add(run.info.run_id)
            yield run
        return
    except _Unreadable as error:
        reason = error.__cause__
    # One unreadable row fails the whole request: search by prefixes of the runs' ids.
    failed = [""]
    for length in range(1, _DIGITS + 1):
        prefixes = [prefix + digit for prefix in failed for digit in _HEX]
        failed = []
        for prefix in prefixes:
            mine = f"{filter_string} and attributes.run_id LIKE '{prefix}%'"
            try:
                found = list(_pages(client, experiments, mine))
            except _Unreadable:
                failed.append(prefix)
                continue
            yield from (run for run in found if run.info.run_id not in seen)
        if length == 1 and len(failed) == len(prefixes):
            # The cause is not a single run.
            assert reason is not None
            raise reason
    for prefix in failed:
        left_out(f"run {prefix}: the store cannot read it; left out")


def _pages(client: MlflowClient, experiments: list[str], filter_string: str) -> Iterator[Run]:
    token: str | None = None
    while True:
        ask = partial(
            client.search_runs, experiments, filter_string, ViewType.ACTIVE_ONLY, PAGE, None, token
        )
        runs = _at_once(client, ask)
        yield from runs
        if not (token := runs.token):
            return


def _at_once(client: MlflowClient, ask: Callable[[], T]) -> T:
    """Return the result of `ask`; while the store is unavailable retry as long as MLflow does.

    Raises:
        _Unreadable: the store is available, and fails twice.
    """
    with _no_retries():
        try:
            return ask()
        except MlflowException as error:
            if error.error_code in _REFUSALS:
                raise
            reason = error
        try:
            client.search_experiments(max_results=1)
            is_away = False
        except MlflowException:
            is_away = True
        if not is_away:
            try:
                return ask()
            except MlflowException:
                raise _Unreadable from reason
    return ask()


_lock = threading.Lock()
_depth = 0
_before: str | None = None


@contextmanager
def _no_retries() -> Iterator[None]:
    """Turn off the retries of MLflow's client in the block, which take a minute."""
    global _depth, _before
    variable = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
    with _lock:
        if _depth == 0:
            _before = os.environ.get(variable)
            os.environ[variable] = "0"
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                os.environ.pop(variable, None)
                if _before is not None:
                    os.environ[variable] = _before
