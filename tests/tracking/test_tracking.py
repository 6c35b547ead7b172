"""Tracking, against a real SQLite store and a real server."""

import dataclasses
import json
import math
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import tracked_runs
from faults import Server
from mlflow import MlflowClient
from model_fixtures import NETWORK

from mnist_ops import tracking
from mnist_ops.core import keys
from mnist_ops.core.errors import TrackingUnavailable
from mnist_ops.study.results import EpochResult, FitResult
from mnist_ops.study.specs import Spec, SvmSpec
from mnist_ops.tracking import sqlite_runs
from mnist_ops.tracking.queries import IS_CELL
from mnist_ops.tracking.search import search

SVM = SvmSpec(study="svm_grid", dataset="FashionMNIST", kernel="rbf", C=10.0)
RESNET = dataclasses.replace(NETWORK, learning_rate=0.0001, train_limit=0, test_limit=0)
EPOCHS = [EpochResult(1, 1.5, 0.5, 10.0), EpochResult(2, 0.7, 0.8, 20.5)]


def result(metrics: dict[str, float] | None = None) -> FitResult:
    return FitResult(
        predictions=np.array([1, 2, 3], np.uint8),
        labels=np.array([1, 2, 4], np.uint8),
        test_index=np.array([7, 8, 70_000 - 1], np.int32),
        n_train=100,
        n_val=14,
        metrics={keys.TEST_ACCURACY: 2 / 3} | (metrics or {}),
    )


@pytest.fixture
def tracker(client: MlflowClient) -> Iterator[tracking.Tracker]:
    tracker = tracking.open_tracker(tracking.default_uri())
    yield tracker
    tracking.close_tracker(tracker)


def open_grid(tracker: tracking.Tracker, run_id: str | None = None) -> tracking.ParentRun:
    return tracking.open_parent(
        tracker,
        name="resnet_grid (quick)",
        note="A question?",
        role=keys.ROLE_GRID,
        tags={keys.STUDY: "resnet_grid"},
        experiment_id=tracking.experiment(tracker.client, "mnist-ops"),
        run_id=run_id,
    )


def open_cell(
    tracker: tracking.Tracker, parent: tracking.Parent, spec: Spec, *, forced: bool = False
) -> tracking.CellRun:
    place = tracking.CellPlace(
        parent, "quick", "0123456789abcdef", "a fit group", time=keys.TIME_MEASURED, forced=forced
    )
    return tracking.CellRun(tracker, spec, place, claimed=False)


def track(
    tracker: tracking.Tracker, parent: tracking.Parent, spec: Spec, *, forced: bool = False
) -> str:
    run = open_cell(tracker, parent, spec, forced=forced)
    for epoch in EPOCHS:
        run.log_epoch(epoch)
    run.finish(result(EPOCHS[-1].metrics))
    return delivered(tracker, run)


def delivered(tracker: tracking.Tracker, run: tracking.CellRun) -> str:
    assert tracker.uploader.flush(20, retry=True)
    assert run.run_id is not None
    return run.run_id


def test_a_run_holds_what_the_contract_names(
    client: MlflowClient, tracker: tracking.Tracker
) -> None:
    parent = open_grid(tracker).parent
    run = client.get_run(track(tracker, parent, RESNET))
    assert run.info.status == "FINISHED"
    assert run.info.run_name == RESNET.name
    assert run.info.experiment_id == parent.experiment_id
    assert run.data.params == {
        "dataset": "MNIST",
        "model": "resnet18",
        "batch_size": "16",
        "optimizer": "Adam",
        "learning_rate": "0.0001",
        "momentum": "0.9",
        "epochs": "2",
        "pin_memory": "False",
        "precision": "bfloat16",
        "plain": "False",
        "amp": "True",
        "weight_decay": "0.0",
        "label_smoothing": "0.0",
        "schedule": "constant",
        "augmentation": "none",
        "parts": "pooled",
        "seed": "0",
        "device": "cpu",
        "n_train": "100",
        "n_val": "14",
        "n_test": "3",
    }
    assert run.data.metrics == {
        "train_loss": 0.7,
        "val_accuracy": 0.8,
        "train_time_s": 20.5,
        "test_accuracy": pytest.approx(2 / 3),
    }
    tags = run.data.tags
    assert tags[keys.STUDY] == "resnet_grid"
    assert tags[keys.FINGERPRINT] == RESNET.fingerprint
    assert tags[keys.PRESET] == "quick"
    assert (tags[keys.FIT_GROUP], tags[keys.TIME]) == ("a fit group", "measured")
    assert tags["mlflow.parentRunId"] == parent.run_id
    assert json.loads(tags[keys.SPEC])["learning_rate"] == 0.0001
    assert tags["mnist_ops.hardware.cores"] == str(os.cpu_count())
    assert tags["mnist_ops.version.python"].startswith("3.")
    (dataset,) = run.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("MNIST", "0123456789abcdef")


def test_every_epoch_is_a_step(client: MlflowClient, tracker: tracking.Tracker) -> None:
    run_id = track(tracker, open_grid(tracker).parent, RESNET)
    assert tracking.history(client, run_id, keys.TRAIN_LOSS) == [(1, 1.5), (2, 0.7)]


def test_predictions_come_back(client: MlflowClient, tracker: tracking.Tracker) -> None:
    stored = tracking.predictions(client, track(tracker, open_grid(tracker).parent, RESNET))
    assert stored.predicted.tolist() == [1, 2, 3]
    assert stored.label.tolist() == [1, 2, 4]
    assert stored.index.tolist() == [7, 8, 69_999]


def test_a_run_has_a_picture_of_its_confusions(
    client: MlflowClient, tracker: tracking.Tracker
) -> None:
    run_id = track(tracker, open_grid(tracker).parent, RESNET)
    drawn = Path(client.download_artifacts(run_id, keys.CONFUSION)).read_text()
    texts = [text for text in ElementTree.fromstring(drawn).itertext() if text.strip()]
    assert texts[0] == RESNET.description
    assert "2 of 3 test images right" in texts
    assert "4 taken for 3: 1 (100.0%)" in texts


def test_the_use_of_the_machine_is_logged_where_it_is_asked_for(
    client: MlflowClient, tracker: tracking.Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true")
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.2")
    grid = open_grid(tracker)
    deadline = time.monotonic() + 60
    while not client.get_run(grid.parent.run_id).data.metrics and time.monotonic() < deadline:
        time.sleep(0.1)
    grid.close("FINISHED", "")
    assert "system/cpu_utilization_percentage" in client.get_run(grid.parent.run_id).data.metrics


def test_run_without_readable_predictions_has_none(
    client: MlflowClient, tracker: tracking.Tracker, home: Path
) -> None:
    parent = open_grid(tracker).parent
    assert tracking.predictions(client, parent.run_id) is None
    (home / keys.PREDICTIONS).write_bytes(b"not an archive")
    client.log_artifact(parent.run_id, str(home / keys.PREDICTIONS))
    assert tracking.predictions(client, parent.run_id) is None


def test_equal_predictions_are_equal_bytes(client: MlflowClient, tracker: tracking.Tracker) -> None:
    parent = open_grid(tracker).parent
    first, second = (
        Path(client.download_artifacts(track(tracker, parent, spec), keys.PREDICTIONS))
        for spec in (RESNET, SVM)
    )
    assert first.read_bytes() == second.read_bytes()


def test_failed_cell_says_why(client: MlflowClient, tracker: tracking.Tracker) -> None:
    run = open_cell(tracker, open_grid(tracker).parent, SVM)
    run.fail("OutOfMemory: too large", "Traceback …")
    stored = client.get_run(delivered(tracker, run))
    assert stored.info.status == "FAILED"
    assert stored.data.tags[keys.ERROR] == "OutOfMemory: too large"
    path = Path(client.download_artifacts(run.run_id, keys.ERROR_TRACEBACK))
    assert path.read_text() == "Traceback …"


def test_only_finished_cells_of_the_study_count_as_finished(
    client: MlflowClient, tracker: tracking.Tracker
) -> None:
    parent = open_grid(tracker).parent
    done = track(tracker, parent, RESNET)
    open_cell(tracker, parent, SVM)
    assert tracking.finished(client, "resnet_grid") == {RESNET.fingerprint: done}
    assert tracking.finished(client, "svm_grid") == {}


def test_finished_cells_are_found_in_any_experiment(
    client: MlflowClient, tracker: tracking.Tracker
) -> None:
    other = client.create_experiment("elsewhere")
    run_id = track(tracker, tracking.Parent(open_grid(tracker).parent.run_id, other), SVM)
    assert tracking.finished(client, "svm_grid") == {SVM.fingerprint: run_id}


def test_deleted_runs_do_not_count(client: MlflowClient, tracker: tracking.Tracker) -> None:
    client.delete_run(track(tracker, open_grid(tracker).parent, SVM))
    assert tracking.finished(client, "svm_grid") == {}


def test_a_grid_ends_with_its_last_words(client: MlflowClient, tracker: tracking.Tracker) -> None:
    grid = open_grid(tracker)
    assert client.get_run(grid.parent.run_id).info.status == "RUNNING"
    grid.close("KILLED", "It ended early.")
    assert tracker.uploader.flush(20, retry=True)
    run = client.get_run(grid.parent.run_id)
    assert run.info.status == "KILLED"
    assert run.data.tags["mlflow.note.content"] == "It ended early."
    assert not list(tracker.journals.iterdir())


def test_a_run_of_mlflow_run_becomes_the_grid(
    client: MlflowClient, tracker: tracking.Tracker
) -> None:
    opened = client.create_run("0", run_name="bold-newt-1")
    parent = open_grid(tracker, opened.info.run_id).parent
    assert (parent.run_id, parent.experiment_id) == (opened.info.run_id, "0")
    run = client.get_run(parent.run_id)
    assert run.info.run_name == "resnet_grid (quick)"
    assert run.data.tags[keys.ROLE] == keys.ROLE_GRID


def test_experiment_opens_in_the_view_for_models(
    client: MlflowClient, tracker: tracking.Tracker
) -> None:
    open_grid(tracker)
    tags = client.get_experiment_by_name("mnist-ops").tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"


def test_experiment_kind_that_someone_chose_is_kept(
    client: MlflowClient, tracker: tracking.Tracker
) -> None:
    chosen = client.create_experiment("mnist-ops", tags={"mlflow.experimentKind": "other"})
    open_grid(tracker)
    assert client.get_experiment(chosen).tags["mlflow.experimentKind"] == "other"


def test_deleted_experiment_is_one_line(client: MlflowClient) -> None:
    client.delete_experiment(client.create_experiment("gone"))
    with pytest.raises(TrackingUnavailable, match="was deleted: restore it"):
        tracking.experiment(client, "gone")


def test_frame_has_a_row_a_cell(client: MlflowClient, tracker: tracking.Tracker) -> None:
    parent = open_grid(tracker).parent
    run_id = track(tracker, parent, RESNET)
    track(tracker, parent, SVM)
    client.create_run("0", run_name="of somebody else")
    frame = tracking.cell_runs(client).set_index("study").sort_index()
    assert len(frame) == 2
    row = frame.loc["resnet_grid"]
    assert row["run_id"] == run_id
    assert (row["batch_size"], row["epochs"], row["learning_rate"]) == ("16", "2", "0.0001")
    assert row["test_accuracy"] == pytest.approx(2 / 3)
    assert row["status"] == "FINISHED"
    assert row["time"] == "measured"
    assert row["end_time"] >= row["start_time"]
    assert str(row["end_time"].tz) == "UTC"
    assert row["hardware_cores"] == str(os.cpu_count())
    assert frame.loc["svm_grid", "gamma"] == "scale"


def test_a_sqlite_file_is_read_as_mlflow_reads_it(client: MlflowClient, home: Path) -> None:
    with tracked_runs.grid() as grid:
        kept, deleted, unnumbered = (grid.write(number) for number in range(3))
    with tracked_runs.grid("other") as other:
        other.write(3)
    client.delete_run(deleted)
    client.log_metric(unnumbered, keys.SUPPORT_VECTORS, math.nan)
    experiments = [found.experiment_id for found in client.search_experiments()]
    read = {run.info.run_id: run for run in sqlite_runs.cells(home / "mlflow.db", experiments)}
    searched = {run.info.run_id: run for run in search(client, IS_CELL)}
    assert kept in read
    assert deleted not in read
    assert math.isnan(read[unnumbered].data.metrics.pop(keys.SUPPORT_VECTORS))
    assert math.isnan(searched[unnumbered].data.metrics.pop(keys.SUPPORT_VECTORS))
    assert {run_id: (dict(run.info), run.data.to_dictionary()) for run_id, run in read.items()} == {
        run_id: (dict(run.info), run.data.to_dictionary()) for run_id, run in searched.items()
    }
    assert set(tracking.cell_runs(client)["run_id"]) == set(read)


def test_a_run_that_cannot_be_read_leaves_the_others(client: MlflowClient, home: Path) -> None:
    with tracked_runs.grid() as grid:
        kept, broken = (grid.write(number) for number in range(2))
    with closing(sqlite3.connect(home / "mlflow.db")) as database, database:
        database.execute("UPDATE runs SET start_time = NULL WHERE run_uuid = ?", (broken,))
    left_out: list[str] = []
    assert list(tracking.cell_runs(client, left_out.append)["run_id"]) == [kept]
    assert len(left_out) == 1
    assert broken[:8] in left_out[0]


def test_empty_store_gives_an_empty_frame(client: MlflowClient) -> None:
    assert tracking.cell_runs(client).empty


def test_not_measured_comes_back(client: MlflowClient, tracker: tracking.Tracker) -> None:
    grid = open_grid(tracker)
    grid.note({keys.NOT_MEASURED: json.dumps({"abc": "not measured: no CUDA device"})})
    assert tracker.uploader.flush(20, retry=True)
    assert tracking.not_measured(client) == {"abc": "not measured: no CUDA device"}


def test_default_store_is_mlflows_own(home: Path) -> None:
    assert tracking.default_uri() == f"sqlite:///{home}/mlflow.db"


def test_relative_uri_is_made_absolute(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other.db")
    assert tracking.default_uri() == f"sqlite:///{home}/other.db"


def test_reading_creates_no_store(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    with pytest.raises(TrackingUnavailable, match="no tracking store at"):
        tracking.connect(f"sqlite:///{path}", create=False)
    assert not path.exists()


def test_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.write_bytes(b"my thesis" * 1000)
    with pytest.raises(TrackingUnavailable, match="cannot be read"):
        tracking.connect(f"sqlite:///{path}")
    assert path.read_bytes() == b"my thesis" * 1000


def test_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE recipes (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(TrackingUnavailable, match="another program"):
        tracking.connect(f"sqlite:///{path}")
    assert path.read_bytes() == before


# More than SQLite keeps in memory, so that half of it is in the file when the process dies.
DIES_WHILE_IT_WRITES = """
import os, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA cache_size = 1")
database.execute("BEGIN")
database.execute("CREATE TABLE half_written (text)")
for _ in range(2000):
    database.execute("INSERT INTO half_written VALUES (?)", ("x" * 500,))
os._exit(9)
"""


def test_store_whose_writer_died_is_as_it_was_before(client: MlflowClient, home: Path) -> None:
    tracked_runs.write(0)
    before = tracking.cell_runs(client)
    path = home / "mlflow.db"
    died = subprocess.run([sys.executable, "-c", DIES_WHILE_IT_WRITES, str(path)])
    assert died.returncode == 9
    assert (home / "mlflow.db-journal").stat().st_size
    again = tracking.connect(tracking.default_uri())
    pd.testing.assert_frame_equal(tracking.cell_runs(again), before)
    with closing(sqlite3.connect(path)) as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
    assert "half_written" not in tables


def test_store_of_a_newer_mlflow_is_one_line(home: Path) -> None:
    with sqlite3.connect(home / "mlflow.db") as database:
        database.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    with pytest.raises(TrackingUnavailable) as caught:
        tracking.connect(tracking.default_uri())
    assert "\n" not in str(caught.value)


def test_server_that_does_not_answer(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{taken.getsockname()[1]}"
        start = time.monotonic()
        with pytest.raises(TrackingUnavailable, match="does not answer"):
            tracking.connect(uri)
    assert time.monotonic() - start < 4 * tracking.CONNECT_TIMEOUT_S


def test_server_of_another_program() -> None:
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello")

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(TrackingUnavailable, match="is not an MLflow server") as caught:
            tracking.connect(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "uri", ["foo://bar", "https://[::1", "./mlruns", "postgresql+nodriver://me:secret@host/db"]
)
def test_uri_that_no_store_understands_is_one_line(home: Path, uri: str) -> None:
    with pytest.raises(TrackingUnavailable) as caught:
        tracking.connect(uri)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_password_is_not_shown() -> None:
    shown = tracking.without_password("postgresql://me:secret@host:5432/db")
    assert shown == "postgresql://me:***@host:5432/db"
    assert tracking.without_password("sqlite:////tmp/x.db") == "sqlite:////tmp/x.db"


@pytest.fixture
def server(home: Path) -> Iterator[str]:
    """The address of a real tracking server, on its own store."""
    made = Server(home)
    yield made.uri
    made.stop()


@pytest.mark.slow
def test_a_server_keeps_what_sqlite_keeps(server: str) -> None:
    tracker = tracking.open_tracker(server)
    client = tracker.client
    run_id = track(tracker, open_grid(tracker).parent, RESNET)
    tracking.close_tracker(tracker)
    assert tracking.finished(client, "resnet_grid") == {RESNET.fingerprint: run_id}
    assert len(tracking.cell_runs(client)) == 1
    assert tracking.predictions(client, run_id).predicted.tolist() == [1, 2, 3]
