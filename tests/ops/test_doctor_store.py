"""The doctor on stores and runs: each defect, planted for real, is named, fixed, and gone."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import older_stores
import pytest
import sqlalchemy
from compare_runs import select
from doctor_fixtures import (
    CELL,
    DEAD,
    GRID_PARAMS,
    Doctor,
    copy_of,
    files_below,
    finished_run,
    fixed,
    opened_by_mlflow,
    predictions_path,
    status,
)
from mlflow import MlflowClient

from mnist_ops import tracking
from mnist_ops.core import keys
from mnist_ops.ops.doctor import Severity
from mnist_ops.tracking.orphaned_artifacts import SET_ASIDE

pytestmark = pytest.mark.usefixtures("small_data")


# The store.


def test_a_sound_store_is_well(client: MlflowClient, doctor: Doctor) -> None:
    finished_run(client)
    assert doctor.issues() == {}
    subjects = {d.seen.subject: d.seen.ok for d in doctor.examine()}
    assert subjects["finished runs"] == "1 run, each complete and the only one of its cell"


def test_no_store_yet_is_a_note(home: Path, doctor: Doctor) -> None:
    (home / "mlflow.db").unlink()
    found = doctor.issues()
    assert found.keys() == {"no-store"}
    assert found["no-store"].severity is Severity.NOTE
    assert doctor.fix() == {}
    assert not (home / "mlflow.db").exists()


def old_store(path: Path) -> None:
    """The store that an MLflow of some years ago would have made."""
    path.unlink()
    uri = f"sqlite:///{path}"
    older_stores.make(uri, revision="7f2a7d5fae7d")
    engine = sqlalchemy.create_engine(uri)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("INSERT INTO runs (run_uuid, name) VALUES ('a', 'b')"))
    engine.dispose()


def test_store_of_an_older_mlflow_is_upgraded_after_a_copy(home: Path, doctor: Doctor) -> None:
    old_store(home / "mlflow.db")
    before = files_below(home)["mlflow.db"]
    assert doctor.issues().keys() == {"schema-older"}
    assert files_below(home)["mlflow.db"] == before
    told = doctor.fix()["schema-older"]
    copy = Path(told.partition(": ")[2].partition(": ")[2] or told.rpartition(" ")[2])
    with closing(sqlite3.connect(copy)) as database:
        assert database.execute("SELECT version_num FROM alembic_version").fetchone() == (
            "7f2a7d5fae7d",
        )
    assert doctor.issues() == {}
    tracking.connect(tracking.default_uri(), create=False)


def test_store_of_a_newer_mlflow_is_left_as_it_is(home: Path, doctor: Doctor) -> None:
    with closing(sqlite3.connect(home / "mlflow.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
        database.commit()
    before = files_below(home)
    found = doctor.issues()
    assert found.keys() == {"schema-newer"}
    assert "pip install --upgrade mlflow" in found["schema-newer"].cure
    assert doctor.fix() == {}
    assert files_below(home) == before


@pytest.mark.parametrize(
    "content", [b"my thesis" * 1000, None], ids=["no database", "of another program"]
)
def test_file_that_is_no_store(home: Path, doctor: Doctor, content: bytes | None) -> None:
    path = home / "mlflow.db"
    path.unlink()
    if content:
        path.write_bytes(content)
    else:
        with closing(sqlite3.connect(path)) as database:
            database.execute("CREATE TABLE recipes (name TEXT)")
    before = path.read_bytes()
    assert doctor.issues().keys() == {"store-unreachable"}
    assert doctor.fix() == {}
    assert path.read_bytes() == before


def test_server_that_is_gone(
    client: MlflowClient, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    found = doctor.issues()
    assert found.keys() == {"store-unreachable"}
    assert "does not answer" in found["store-unreachable"].what


def test_deleted_claims_are_restored(client: MlflowClient, store: str, doctor: Doctor) -> None:
    client.delete_run(store)
    fixed(doctor, "ledger-deleted")
    assert tracking.Claims(client, store).claim(["a cell"]) == {"a cell"}


# Runs.


def test_stale_runs_are_ended(client: MlflowClient, store: str, doctor: Doctor) -> None:
    tags = {keys.ROLE: keys.ROLE_CELL, keys.FINGERPRINT: CELL, keys.OWNER: str(DEAD)}
    ghost = client.create_run("0", tags=tags).info.run_id
    fixed(doctor, "ghost")
    assert status(client, ghost) == "KILLED"


def test_run_of_a_process_that_lives_is_left_alone(
    client: MlflowClient, store: str, doctor: Doctor
) -> None:
    tags = {keys.ROLE: keys.ROLE_CELL, keys.OWNER: str(tracking.ProcessId.this_process())}
    living = client.create_run("0", tags=tags).info.run_id
    assert doctor.issues() == {}
    assert doctor.fix() == {}
    assert status(client, living) == "RUNNING"


def test_run_that_mlflow_run_never_handed_over_is_ended(
    client: MlflowClient, doctor: Doctor
) -> None:
    left = opened_by_mlflow(client, GRID_PARAMS, age_s=15_000)
    fixed(doctor, "never-begun")
    assert status(client, left) == "KILLED"


def test_run_of_mlflow_run_that_may_still_begin_is_left_alone(
    client: MlflowClient, store: str, doctor: Doctor
) -> None:
    opened_by_mlflow(client, GRID_PARAMS, age_s=7_300)
    opened_by_mlflow(client, {"alpha": "0.1"}, age_s=90_000)
    owner = str(tracking.ProcessId.this_process())
    opened_by_mlflow(client, GRID_PARAMS, 90_000, **{keys.OWNER: owner, keys.ROLE: keys.ROLE_MAIN})
    assert doctor.issues() == {}


def test_of_duplicates_the_one_that_reports_use_is_kept(
    client: MlflowClient, doctor: Doctor
) -> None:
    first = finished_run(client)
    runs = {first, copy_of(client, first), copy_of(client, first)}
    frame = tracking.cell_runs(client)
    (used,) = select(frame, lambda preset: [], {}).runs["run_id"]
    fixed(doctor, "duplicate")
    stages = {run_id: client.get_run(run_id).info.lifecycle_stage for run_id in runs}
    assert {run_id for run_id, stage in stages.items() if stage == "active"} == {used}
    other = next(iter(runs - {used}))
    client.restore_run(other)
    assert doctor.issues().keys() == {"duplicate"}


@pytest.mark.parametrize(
    ("defect", "told"),
    [
        ("gone", "no test_predictions.npz"),
        ("torn", "test_predictions.npz cannot be read"),
        ("other", "its predictions are right for 0.0000%, its logged accuracy is 66.6667%"),
    ],
)
def test_run_without_sound_predictions_counts_until_force(
    client: MlflowClient, doctor: Doctor, defect: str, told: str
) -> None:
    run_id = finished_run(client)
    path = predictions_path(client, run_id)
    match defect:
        case "gone":
            path.unlink()
        case "torn":
            path.write_bytes(path.read_bytes()[:100])
        case "other":
            wrong = {"predicted": np.array([9, 9, 9]), "label": np.array([1, 2, 4])}
            np.savez_compressed(path, index=np.array([7, 8, 9]), **wrong)
    assert told in doctor.issues()["incomplete"].items[0]
    assert doctor.fix() == {}
    assert tracking.finished(client, "resnet_grid") == {CELL: run_id}
    fixed(doctor, "incomplete", force=True)
    run = client.get_run(run_id)
    assert (run.info.status, run.data.tags[keys.ERROR]) == ("KILLED", f"half logged: {told}")
    assert tracking.finished(client, "resnet_grid") == {}


def test_run_without_an_accuracy_counts_no_more(client: MlflowClient, doctor: Doctor) -> None:
    run_id = finished_run(client, metrics={keys.TEST_ACCURACY: float("nan")})
    assert doctor.issues()["half-logged"].items[0].endswith(f": no {keys.TEST_ACCURACY}")
    fixed(doctor, "half-logged")
    assert status(client, run_id) == "KILLED"


@pytest.mark.parametrize("metric", [keys.TEST_F1, keys.FLOPS])
def test_run_with_an_accuracy_and_without_another_metric_counts(
    client: MlflowClient, doctor: Doctor, metric: str
) -> None:
    run_id = finished_run(client, metrics={metric: float("nan")})
    assert doctor.issues()["incomplete"].items[0].endswith(f": no {metric}")
    assert doctor.fix() == {}
    assert status(client, run_id) == "FINISHED"


def test_runs_whose_artifacts_are_elsewhere_are_kept(
    client: MlflowClient, home: Path, doctor: Doctor
) -> None:
    run_id = finished_run(client)
    (home / "mlruns").rename(home / "on another machine")
    assert doctor.issues().keys() == {"artifacts-unreachable"}
    assert doctor.fix() == {}
    assert status(client, run_id) == "FINISHED"


def test_folder_that_was_made_again_where_the_runs_were(
    client: MlflowClient, home: Path, doctor: Doctor
) -> None:
    run_id = finished_run(client)
    (home / "mlruns").rename(home / "moved away")
    other = client.create_run(client.get_run(run_id).info.experiment_id).info.run_id
    client.log_text(other, "another's", "a file.txt")
    assert doctor.issues().keys() == {"artifacts-unreachable"}
    assert doctor.fix(force=True) == {}
    assert status(client, run_id) == "FINISHED"


def test_incomplete_repetition_leaves_the_whole_run(client: MlflowClient, doctor: Doctor) -> None:
    whole = finished_run(client)
    later = copy_of(client, whole)
    predictions_path(client, later).unlink()
    fixed(doctor, "duplicate")
    assert tracking.finished(client, "resnet_grid") == {CELL: whole}


def test_repetitions_of_which_none_is_seen_whole_are_kept(
    client: MlflowClient, home: Path, doctor: Doctor
) -> None:
    runs = {(first := finished_run(client)), copy_of(client, first)}
    (home / "mlruns").rename(home / "on another machine")
    assert doctor.issues().keys() == {"artifacts-unreachable", "duplicate-undecided"}
    assert doctor.fix(force=True) == {}
    assert {status(client, run_id) for run_id in runs} == {"FINISHED"}
    assert {client.get_run(r).info.lifecycle_stage for r in runs} == {"active"}


def test_claims_of_the_dead_are_a_note(client: MlflowClient, store: str, doctor: Doctor) -> None:
    client.log_param(store, "a_cell.1", str(DEAD))
    client.log_param(store, "my_cell.1", str(tracking.ProcessId.this_process()))
    assert doctor.issues()["dead-claim"].severity is Severity.NOTE
    fixed(doctor, "dead-claim")
    claims = tracking.Claims(client, store).entries().claims
    assert claims["a_cell"][1] is None
    assert claims["my_cell"][1] == tracking.ProcessId.this_process()


def test_artifacts_without_a_run_are_moved_aside(
    client: MlflowClient, home: Path, doctor: Doctor
) -> None:
    kept = finished_run(client)
    deleted = copy_of(client, kept)
    client.delete_run(deleted)
    orphan = home / "mlruns" / "7" / ("0" * 32)
    (orphan / "artifacts").mkdir(parents=True)
    (orphan / "artifacts" / "mine.txt").write_text("precious")
    assert doctor.fix() == {}
    assert (orphan / "artifacts" / "mine.txt").exists()
    fixed(doctor, "orphaned-artifacts", force=True)
    aside = home / "mlruns" / SET_ASIDE / "7" / ("0" * 32)
    assert (aside / "artifacts" / "mine.txt").read_text() == "precious"
    assert predictions_path(client, kept).exists()
    assert predictions_path(client, deleted).exists()


def test_artifacts_of_a_store_beside_are_left_alone(
    client: MlflowClient, home: Path, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished_run(client)
    shutil.copy(home / "mlflow.db", home / "other.db")
    with closing(sqlite3.connect(home / "mlflow.db")) as database:
        database.execute("PRAGMA foreign_keys = OFF")
        for table in ("runs", "tags", "metrics", "latest_metrics", "params"):
            database.execute(f"DELETE FROM {table}")
        database.commit()
    assert "orphaned-artifacts" not in doctor.issues()


def test_artifacts_of_the_store_that_this_is_a_copy_of_are_left_alone(
    client: MlflowClient, home: Path, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "copy").mkdir()
    shutil.copy(home / "mlflow.db", home / "copy" / "mlflow.db")
    finished_run(client)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/copy/mlflow.db")
    copied = MlflowClient(tracking.default_uri())
    copied.create_experiment("beside", artifact_location=str(home / "mlruns" / "1"))
    assert "orphaned-artifacts" not in doctor.issues()
