"""The doctor where it cannot see everything: artifacts behind a server, processes elsewhere."""

import dataclasses
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import faults
import pytest
import services
from doctor_fixtures import (
    CELL,
    DEAD,
    EPOCHS,
    RESNET,
    Doctor,
    all_runs,
    dead_journal,
    files_below,
    finished_run,
    open_cell,
    open_grid,
    opened,
    result,
    status,
)
from mlflow import MlflowClient
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from requirements import require

from mnist_ops import tracking
from mnist_ops.core import keys, paths
from mnist_ops.tracking import claims

pytestmark = pytest.mark.usefixtures("small_data")

ELSEWHERE = dataclasses.replace(DEAD, place="another-host/01234567/4026531836")
AN_HOUR_S = 3600


@pytest.fixture
def watch_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["mnist_ops.tracking.stale_runs"], "WATCH_S", 2.0)


def beat(client: MlflowClient, store: str, when: float) -> None:
    client.set_tag(store, claims.heartbeat_key(ELSEWHERE), f"{when:.0f} {ELSEWHERE}")


def open_run(client: MlflowClient, **tags: str) -> str:
    tags = {keys.ROLE: keys.ROLE_CELL, keys.FINGERPRINT: CELL, keys.OWNER: str(ELSEWHERE), **tags}
    return str(client.create_run("0", tags=tags).info.run_id)


# Processes of other machines.


def test_process_whose_clock_is_an_hour_behind_lives(
    client: MlflowClient, store: str, doctor: Doctor, watch_briefly: None
) -> None:
    run_id = open_run(client)
    client.log_param(store, f"{CELL}.1", str(ELSEWHERE))
    ended = threading.Event()
    beat(client, store, time.time() - AN_HOUR_S)

    def beat_on() -> None:
        own, when = MlflowClient(tracking.default_uri()), time.time() - AN_HOUR_S
        while not ended.wait(0.2):
            # Signs are in whole seconds, and no two are alike.
            when += 1
            beat(own, store, when)

    thread = threading.Thread(target=beat_on)
    thread.start()
    try:
        assert doctor.issues() == {}
        assert doctor.fix() == {}
    finally:
        ended.set()
        thread.join()
    assert status(client, run_id) == "RUNNING"
    assert doctor.fix().keys() == {"ghost", "dead-claim"}
    assert status(client, run_id) == "KILLED"


def test_process_that_left_no_sign_yet_is_not_taken_for_dead(
    client: MlflowClient, store: str, doctor: Doctor
) -> None:
    run_id = open_run(client)
    assert doctor.fix() == {}
    assert status(client, run_id) == "RUNNING"


def test_whoever_opens_a_grid_leaves_signs_of_life(client: MlflowClient) -> None:
    with opened(client) as tracker:
        open_grid(tracker)
        assert tracking.ProcessId.this_process() in tracker.claims.entries().heartbeats


def test_journal_of_a_process_that_shares_the_folder_is_left_alone(
    client: MlflowClient, store: str, doctor: Doctor, watch_briefly: None
) -> None:
    tags = {keys.FINGERPRINT: CELL, keys.JOURNAL: "0" * 16, keys.OWNER: str(ELSEWHERE)}
    folder = dead_journal(store, "0", tags=tags)
    (folder / ".test_predictions.npz.new").write_bytes(b"half")
    beat(client, store, time.time())
    before = files_below(paths.state_dir())
    assert doctor.issues() == {}
    assert doctor.fix() == {}
    assert files_below(paths.state_dir()) == before
    beat(client, store, time.time() - AN_HOUR_S)
    assert doctor.fix().keys() == {"undelivered", "leftover"}


# Artifacts that are not on this machine.


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, str]]:
    require(not services.MISSING, services.MISSING)
    with services.s3() as environment:
        yield environment


@pytest.fixture(params=["server", "s3"])
def served(
    request: pytest.FixtureRequest, home: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MlflowClient]:
    """A store whose artifacts are behind a server, or in S3."""
    if request.param == "s3":
        for name, value in request.getfixturevalue("s3").items():
            monkeypatch.setenv(name, value)
        client = tracking.connect(tracking.default_uri())
        client.create_experiment("mnist-ops", artifact_location="s3://mnist-ops/runs")
        yield client
        return
    server = faults.Server(home)
    try:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
        yield tracking.connect(server.uri)
    finally:
        server.stop()


@pytest.mark.slow
def test_healthy_store_is_left_as_it_is_and_a_lost_file_is_named(
    served: MlflowClient, doctor: Doctor
) -> None:
    first, second = (
        finished_run(served, dataclasses.replace(RESNET, batch_size=size)) for size in (16, 32)
    )
    before = all_runs(served)
    assert doctor.issues() == {}
    assert doctor.fix(force=True) == {}
    assert all_runs(served) == before
    repository = get_artifact_repository(
        served.get_run(first).info.artifact_uri, tracking_uri=tracking.default_uri()
    )
    repository.delete_artifacts(keys.PREDICTIONS)
    (item,) = doctor.issues()["incomplete"].items
    assert item.endswith("no test_predictions.npz")
    assert doctor.fix() == {}
    assert all_runs(served) == before
    assert doctor.fix(force=True).keys() == {"incomplete"}
    assert (status(served, first), status(served, second)) == ("KILLED", "FINISHED")
    doctor.undo()
    assert all_runs(served) == before
    # Nothing is seen where nothing else is seen: that may be the wrong place.
    get_artifact_repository(
        served.get_run(second).info.artifact_uri, tracking_uri=tracking.default_uri()
    ).delete_artifacts(keys.PREDICTIONS)
    doctor.fix()
    assert all_runs(served) == before


@pytest.mark.slow
def test_store_of_a_team_is_left_as_it_is(signed_in: services.Team, doctor: Doctor) -> None:
    client = tracking.connect(signed_in.uri)
    ours = {finished_run(client)}
    with opened(client) as tracker:
        grid = open_grid(tracker)
        run = open_cell(tracker, grid.parent, dataclasses.replace(RESNET, batch_size=32))
        run.log_epoch(EPOCHS[0])
        run.finish(result())
        assert tracker.uploader.flush(30, retry=True)
        ours |= {run.run_id, grid.parent.run_id}
        before = [row for row in all_runs(client) if row["run_id"] in ours]
        # Other tests leave other runs there.
        doctor.examine(fix=True)
        assert [row for row in all_runs(client) if row["run_id"] in ours] == before
        grid.close("FINISHED", "")
