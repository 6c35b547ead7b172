"""Answers of a proxy in place of the tracking server are not believed."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bad_proxy import KINDS, BadProxy
from faults import Server
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from tracked_runs import UPLOAD_S, Grid, spec

from mnist_ops import tracking
from mnist_ops.core import keys
from mnist_ops.core.errors import TrackingUnavailable
from mnist_ops.tracking.tracker import Tracker

pytestmark = pytest.mark.slow

SAME_KIND = ("200 with {}", "200 with other JSON", "old")


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BadProxy]:
    server = Server(tmp_path_factory.mktemp("server"))
    proxy = BadProxy(server.uri)
    proxy.server_uri = server.uri  # type: ignore[attr-defined]
    try:
        yield proxy
    finally:
        proxy.close()
        server.stop()


@pytest.fixture
def tracker(home: Path, proxy: BadProxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tracker]:
    proxy.kind = None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    tracker = tracking.open_tracker(tracking.default_uri())
    try:
        yield tracker
    finally:
        proxy.kind = None
        tracking.close_tracker(tracker)


def runs_of(proxy: BadProxy, fingerprint: str) -> list:
    """Ask the server itself."""
    client = MlflowClient(proxy.server_uri)  # type: ignore[attr-defined]
    experiments = [found.experiment_id for found in client.search_experiments()]
    return client.search_runs(experiments, f"tags.`{keys.FINGERPRINT}` = '{fingerprint}'")


def assert_whole(proxy: BadProxy, number: int, study: str) -> None:
    (run,) = runs_of(proxy, spec(number, study).fingerprint)
    client = MlflowClient(proxy.server_uri)  # type: ignore[attr-defined]
    assert run.info.status == "FINISHED"
    assert run.data.params[keys.N_TEST]
    assert run.data.metrics[keys.TEST_ACCURACY] >= 0
    losses = client.get_metric_history(run.info.run_id, keys.TRAIN_LOSS)
    assert sorted(point.step for point in losses) == [1, 2]
    files = [file.path for file in client.list_artifacts(run.info.run_id)]
    assert files == [keys.CONFUSION, keys.PREDICTIONS]


@pytest.mark.parametrize("kind", KINDS)
def test_every_run_arrives_whole_once_the_answers_are_the_servers(tracker, proxy, kind) -> None:
    study = f"study-{KINDS.index(kind)}"
    grid = Grid(tracker, study)
    proxy.requests, proxy.kind = 0, kind
    grid.finish(1)
    tracker.uploader.flush(3, retry=True)
    assert proxy.requests > 0
    proxy.kind = None
    grid.finish(2)
    assert tracker.uploader.flush(UPLOAD_S, retry=True), tracker.uploader.last_error
    assert_whole(proxy, 1, study)
    assert_whole(proxy, 2, study)
    assert not list(tracker.journals.glob("[0-9a-f]*"))


@pytest.mark.parametrize("kind", ["200 with {}", "404 with JSON", "400 with JSON", "lost", "old"])
def test_every_run_arrives_though_single_answers_are_wrong(tracker, proxy, kind) -> None:
    study = f"random-{KINDS.index(kind)}"
    grid = Grid(tracker, study)
    dice = random.Random(kind)
    for number in range(3):
        grid.finish(number)
    deadline = time.monotonic() + 6
    while time.monotonic() < deadline:
        proxy.kind = kind if dice.random() < 0.2 else None
        tracker.uploader.flush(dice.uniform(0, 0.1), retry=True)
    proxy.kind = None
    assert tracker.uploader.flush(UPLOAD_S, retry=True), tracker.uploader.last_error
    for number in range(3):
        assert_whole(proxy, number, study)


@pytest.mark.parametrize("kind", SAME_KIND)
def test_no_cell_is_claimed_where_the_ledger_was_not_written(tracker, proxy, kind) -> None:
    proxy.kind = kind
    with pytest.raises((MlflowException, TrackingUnavailable)):
        tracker.claims.claim(["f" * 16])
    proxy.kind = None
    assert tracker.claims.entries().holder("f" * 16) is None
    assert tracker.claims.claim(["f" * 16]) == {"f" * 16}


@pytest.mark.parametrize("kind", SAME_KIND)
def test_nothing_finished_is_not_concluded_from_such_an_answer(tracker, proxy, kind) -> None:
    study = f"finished-{KINDS.index(kind)}"
    Grid(tracker, study).finish(1)
    assert tracker.uploader.flush(UPLOAD_S, retry=True)
    proxy.kind = kind
    with pytest.raises(MlflowException, match="MLflow's"):
        tracking.finished(tracker.client, study)
    proxy.kind = None
    assert list(tracking.finished(tracker.client, study)) == [spec(1, study).fingerprint]


@pytest.mark.parametrize("kind", KINDS[:-1])
def test_what_is_not_an_mlflow_server_is_said_to_be_none(home, proxy, kind) -> None:
    proxy.kind = kind
    with pytest.raises(TrackingUnavailable):
        tracking.connect(proxy.uri)
    proxy.kind = None
    tracking.connect(proxy.uri)
