"""MLflow's variables say where a grid's runs go; a run is taken over only if it is this grid's."""

from collections.abc import Callable, Iterator

import pytest
from mlflow import MlflowClient
from mlflow.entities import Param
from mlflow.exceptions import MlflowException
from tracked_runs import Grid

from mnist_ops import tracking
from mnist_ops.core import keys
from mnist_ops.core.errors import InvalidInput
from mnist_ops.tracking.tracker import Address, Tracker, open_tracker

OPENED = {"mlflow.project.entryPoint": "main", "mlflow.project.env": "local"}


@pytest.fixture
def tracker(home) -> Iterator[Tracker]:
    tracker = open_tracker(tracking.default_uri())
    yield tracker
    tracking.close_tracker(tracker)


def create_run(client: MlflowClient, tags: dict[str, str] = OPENED) -> str:
    experiment_id = client.get_experiment_by_name("Default").experiment_id
    return str(client.create_run(experiment_id, tags=tags).info.run_id)


def a_finished_cell(tracker: Tracker) -> str:
    return Grid(tracker, "svm_grid").write(1)


def the_ledger(tracker: Tracker) -> str:
    return tracker.address.store


def one_that_a_script_has_open(tracker: Tracker) -> str:
    return create_run(tracker.client, {})


def one_of_a_grid(tracker: Tracker) -> str:
    return create_run(tracker.client, OPENED | {keys.ROLE: keys.ROLE_GRID})


def one_with_a_metric(tracker: Tracker) -> str:
    run_id = create_run(tracker.client)
    tracker.client.log_metric(run_id, "accuracy", 1)
    return run_id


def a_killed_one(tracker: Tracker) -> str:
    run_id = create_run(tracker.client)
    tracker.client.set_terminated(run_id, "KILLED")
    return run_id


def a_deleted_one(tracker: Tracker) -> str:
    run_id = create_run(tracker.client)
    tracker.client.delete_run(run_id)
    return run_id


def one_of_a_deleted_experiment(tracker: Tracker) -> str:
    experiment_id = tracker.client.create_experiment("gone")
    run_id = tracker.client.create_run(experiment_id, tags=OPENED).info.run_id
    tracker.client.delete_experiment(experiment_id)
    return str(run_id)


def none(tracker: Tracker) -> str:
    return "0" * 32


def no_id(tracker: Tracker) -> str:
    return "../" * 200


@pytest.mark.parametrize(
    "made",
    [
        a_finished_cell,
        the_ledger,
        one_that_a_script_has_open,
        one_of_a_grid,
        one_with_a_metric,
        a_killed_one,
        a_deleted_one,
        one_of_a_deleted_experiment,
        none,
        no_id,
    ],
)
def test_another_run_is_refused_and_left_as_it_is(
    tracker: Tracker, monkeypatch: pytest.MonkeyPatch, made: Callable[[Tracker], str]
) -> None:
    run_id = made(tracker)
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    is_there = made not in (none, no_id)
    before = tracker.client.get_run(run_id).to_dictionary() if is_there else None
    with pytest.raises(InvalidInput, match="unset MLFLOW_RUN_ID"):
        tracking.opened_for_us(tracker)
    if is_there and made is not the_ledger:
        assert tracker.client.get_run(run_id).to_dictionary() == before


def test_a_run_is_taken_over_once(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracking.opened_for_us(tracker) is None
    run_id = create_run(tracker.client)
    monkeypatch.setenv("MLFLOW_RUN_ID", f"{run_id}\n")
    assert tracking.opened_for_us(tracker) == run_id
    # As another process has it.
    other = Tracker(Address(tracker.address.uri, tracker.address.store), lambda line: None)
    here = other.claims.owner
    other.claims.owner = tracking.ProcessId(here.place, 1, 0.0)
    monkeypatch.setattr(tracking.ProcessId, "is_alive", lambda *_: True)
    with pytest.raises(InvalidInput, match="another process has taken over"):
        tracking.opened_for_us(other)


@pytest.mark.parametrize(
    ("name", "by_name", "by_id", "gives"),
    [
        (None, None, None, "mnist-ops"),
        (None, "", "", "mnist-ops"),
        (None, "named", None, "named"),
        (None, None, "other", "other"),
        (None, "other", "other", "other"),
        ("asked for", "named", "other", "asked for"),
    ],
)
def test_experiment_of_new_runs(
    client: MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
    name: str | None,
    by_name: str | None,
    by_id: str | None,
    gives: str,
) -> None:
    other = client.create_experiment("other")
    if by_name is not None:
        monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", by_name)
    if by_id is not None:
        monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", other if by_id else "")
    assert client.get_experiment(tracking.experiment(client, name)).name == gives


@pytest.mark.parametrize(
    ("by_name", "by_id", "why"),
    [(None, "77", "does not have"), (None, "deleted", "deleted"), ("named", "0", "is 'named'")],
)
def test_experiment_that_cannot_be_is_refused(
    client: MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
    by_name: str | None,
    by_id: str,
    why: str,
) -> None:
    if by_id == "deleted":
        by_id = client.create_experiment("deleted")
        client.delete_experiment(by_id)
    if by_name:
        monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", by_name)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", by_id)
    with pytest.raises(InvalidInput, match=why):
        tracking.experiment(client)
    assert client.get_experiment_by_name("named") is None


def test_writes_are_answered_whatever_the_variables(
    tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_LOGGING", "true")
    other = Tracker(tracker.address, lambda line: None)
    run_id = create_run(tracker.client)
    other.client.log_batch(run_id, params=[Param("written", "once")])
    with pytest.raises(MlflowException):
        other.client.log_batch(run_id, params=[Param("written", "twice")])


def test_a_line_end_is_no_part_of_an_address(home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db\n")
    assert tracking.default_uri() == f"sqlite:///{home}/mlflow.db"
