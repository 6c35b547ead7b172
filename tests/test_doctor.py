"""The doctor: each defect, planted for real, is named, mended, and not found again."""

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import psutil
import pytest
import sqlalchemy
from alembic import command
from click.testing import CliRunner
from data_fixtures import gzip_files
from doctor_fixtures import (
    DEAD,
    EPOCHS,
    RESNET,
    Doctor,
    copy_of,
    dead_journal,
    finished_run,
    open_cell,
    open_grid,
    opened,
    result,
)
from mlflow import MlflowClient
from mlflow.store.db import utils
from mlflow.store.tracking.dbmodels.initial_models import Base as InitialBase

from mnist_ops import durable, keys, state, tracking
from mnist_ops.cli import main
from mnist_ops.compare.selection import select
from mnist_ops.doctor import Severity, disk
from mnist_ops.tracking import ledger
from mnist_ops.tracking.journal import Journal
from mnist_ops.tracking.orphans import SET_ASIDE

pytestmark = pytest.mark.usefixtures("small_data")
CELL = RESNET.fingerprint


@pytest.fixture
def doctor() -> Doctor:
    return Doctor()


@pytest.fixture
def store(client: MlflowClient) -> str:
    """The id of a store that a grid has used."""
    finished = ledger.find(client)
    assert finished is not None
    return finished


def mended(doctor: Doctor, *kinds: str) -> dict[str, str]:
    """Each of `kinds`, and nothing else, is found, mended, and not found again."""
    assert doctor.findings().keys() == set(kinds)
    done = doctor.fix()
    assert done.keys() == set(kinds)
    assert doctor.findings() == {}
    return done


def files_below(folder: Path) -> dict[str, str]:
    """Path -> digest of all that lies in `folder`."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def status(client: MlflowClient, run_id: str) -> str:
    return str(client.get_run(run_id).info.status)


# The store.


def test_a_sound_store_is_well(client: MlflowClient, doctor: Doctor) -> None:
    finished_run(client)
    assert doctor.findings() == {}
    subjects = {d.seen.subject: d.seen.well for d in doctor.examine()}
    assert subjects["finished runs"] == "1 run, each whole and the only one of its cell"


def test_no_store_yet_is_a_note(home: Path, doctor: Doctor) -> None:
    (home / "mlflow.db").unlink()
    found = doctor.findings()
    assert found.keys() == {"no-store"}
    assert found["no-store"].severity is Severity.NOTE
    assert doctor.fix() == {}
    assert not (home / "mlflow.db").exists()


def old_store(path: Path) -> None:
    """The store that an MLflow of some years ago would have made."""
    path.unlink()
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    InitialBase.metadata.create_all(engine)
    config = utils._get_alembic_config(str(engine.url))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "7f2a7d5fae7d")
    engine.dispose()


def test_store_of_an_older_mlflow_is_upgraded_after_a_copy(home: Path, doctor: Doctor) -> None:
    old_store(home / "mlflow.db")
    before = files_below(home)["mlflow.db"]
    assert doctor.findings().keys() == {"schema-older"}
    assert files_below(home)["mlflow.db"] == before
    told = doctor.fix()["schema-older"]
    copy = Path(told.partition(": ")[2].partition(": ")[2] or told.rpartition(" ")[2])
    with closing(sqlite3.connect(copy)) as database:
        assert database.execute("SELECT version_num FROM alembic_version").fetchone() == (
            "7f2a7d5fae7d",
        )
    assert doctor.findings() == {}
    tracking.connect(tracking.default_uri(), create=False)


def test_store_of_a_newer_mlflow_is_left_as_it_is(home: Path, doctor: Doctor) -> None:
    with closing(sqlite3.connect(home / "mlflow.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
        database.commit()
    before = files_below(home)
    found = doctor.findings()
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
    assert doctor.findings().keys() == {"store-unreachable"}
    assert doctor.fix() == {}
    assert path.read_bytes() == before


def test_server_that_is_gone(
    client: MlflowClient, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    found = doctor.findings()
    assert found.keys() == {"store-unreachable"}
    assert "does not answer" in found["store-unreachable"].what


@pytest.mark.parametrize("deleted", ["run", "experiment"])
def test_deleted_ledger_is_restored(
    client: MlflowClient, store: str, doctor: Doctor, deleted: str
) -> None:
    if deleted == "run":
        client.delete_run(store)
    else:
        client.delete_experiment(client.get_run(store).info.experiment_id)
    mended(doctor, "ledger-deleted")
    assert tracking.Ledger(client, store).claim(["a cell"]) == {"a cell"}


# Runs.


def test_ghosts_are_ended(client: MlflowClient, store: str, doctor: Doctor) -> None:
    tags = {keys.ROLE: keys.ROLE_CELL, keys.FINGERPRINT: CELL, keys.OWNER: str(DEAD)}
    ghost = client.create_run("0", tags=tags).info.run_id
    mended(doctor, "ghost")
    assert status(client, ghost) == "KILLED"


def test_run_of_a_process_that_lives_is_left_alone(
    client: MlflowClient, store: str, doctor: Doctor
) -> None:
    tags = {keys.ROLE: keys.ROLE_CELL, keys.OWNER: str(tracking.Owner.this_process())}
    living = client.create_run("0", tags=tags).info.run_id
    assert doctor.findings() == {}
    assert doctor.fix() == {}
    assert status(client, living) == "RUNNING"


def opened_by_mlflow(
    client: MlflowClient, params: dict[str, str], age_s: float, **tags: str
) -> str:
    run = client.create_run(
        "0",
        start_time=int(1000 * (time.time() - age_s)),
        tags={"mlflow.project.entryPoint": "main", **tags},
    )
    for name, value in params.items():
        client.log_param(run.info.run_id, name, value)
    return str(run.info.run_id)


GRID_PARAMS = dict.fromkeys(
    ("preset", "datasets", "seeds", "workers", "scheduler", "device", "report"), "auto"
)


def test_run_that_mlflow_run_never_handed_over_is_ended(
    client: MlflowClient, doctor: Doctor
) -> None:
    left = opened_by_mlflow(client, GRID_PARAMS, age_s=4000)
    mended(doctor, "never-begun")
    assert status(client, left) == "KILLED"


def test_run_of_mlflow_run_that_may_still_begin_is_left_alone(
    client: MlflowClient, store: str, doctor: Doctor
) -> None:
    opened_by_mlflow(client, GRID_PARAMS, age_s=600)
    opened_by_mlflow(client, {"alpha": "0.1"}, age_s=90_000)
    owner = str(tracking.Owner.this_process())
    opened_by_mlflow(client, GRID_PARAMS, 90_000, **{keys.OWNER: owner, keys.ROLE: keys.ROLE_MAIN})
    assert doctor.findings() == {}


def test_of_duplicates_the_one_that_reports_use_is_kept(
    client: MlflowClient, doctor: Doctor
) -> None:
    first = finished_run(client)
    runs = {first, copy_of(client, first), copy_of(client, first)}
    frame = tracking.cell_runs(client)
    (used,) = select(frame, lambda preset: [], {}).runs["run_id"]
    mended(doctor, "duplicate")
    stages = {run_id: client.get_run(run_id).info.lifecycle_stage for run_id in runs}
    assert {run_id for run_id, stage in stages.items() if stage == "active"} == {used}
    other = next(iter(runs - {used}))
    client.restore_run(other)
    assert doctor.findings().keys() == {"duplicate"}


def predictions_path(client: MlflowClient, run_id: str) -> Path:
    (path,) = Path("mlruns").glob(f"*/{run_id}/artifacts/{keys.PREDICTIONS}")
    return path


@pytest.mark.parametrize(
    ("defect", "told"),
    [
        ("gone", "no test_predictions.npz"),
        ("torn", "test_predictions.npz cannot be read"),
        ("other", "its predictions are right in 0.0000%, it says 66.6667%"),
    ],
)
def test_run_without_sound_predictions_counts_no_more(
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
    assert told in doctor.findings()["half-logged"].items[0]
    mended(doctor, "half-logged")
    run = client.get_run(run_id)
    assert (run.info.status, run.data.tags[keys.ERROR]) == ("KILLED", f"half logged: {told}")
    assert tracking.finished(client, "resnet_grid") == {}


@pytest.mark.parametrize("metric", [keys.TEST_F1, keys.FLOPS])
def test_run_without_a_metric_counts_no_more(
    client: MlflowClient, doctor: Doctor, metric: str
) -> None:
    run_id = finished_run(client, metrics={metric: float("nan")})
    assert doctor.findings()["half-logged"].items[0].endswith(f": no {metric}")
    mended(doctor, "half-logged")
    assert status(client, run_id) == "KILLED"


def test_runs_whose_artifacts_are_elsewhere_are_kept(
    client: MlflowClient, home: Path, doctor: Doctor
) -> None:
    run_id = finished_run(client)
    (home / "mlruns").rename(home / "on another machine")
    assert doctor.findings().keys() == {"artifacts-unreachable"}
    assert doctor.fix() == {}
    assert status(client, run_id) == "FINISHED"


def test_half_logged_repetition_leaves_the_whole_run(client: MlflowClient, doctor: Doctor) -> None:
    whole = finished_run(client)
    later = copy_of(client, whole)
    predictions_path(client, later).unlink()
    mended(doctor, "half-logged")
    assert tracking.finished(client, "resnet_grid") == {CELL: whole}


def test_claims_of_the_dead_are_a_note(client: MlflowClient, store: str, doctor: Doctor) -> None:
    client.log_param(store, "a_cell.1", str(DEAD))
    client.log_param(store, "my_cell.1", str(tracking.Owner.this_process()))
    assert doctor.findings()["dead-claim"].severity is Severity.NOTE
    mended(doctor, "dead-claim")
    claims = tracking.Ledger(client, store).entries().claims
    assert claims["a_cell"][1] is None
    assert claims["my_cell"][1] == tracking.Owner.this_process()


def test_artifacts_without_a_run_are_moved_aside(
    client: MlflowClient, home: Path, doctor: Doctor
) -> None:
    kept = finished_run(client)
    deleted = copy_of(client, kept)
    client.delete_run(deleted)
    orphan = home / "mlruns" / "7" / ("0" * 32)
    (orphan / "artifacts").mkdir(parents=True)
    (orphan / "artifacts" / "mine.txt").write_text("precious")
    mended(doctor, "orphaned-artifacts")
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
    assert "orphaned-artifacts" not in doctor.findings()


def test_artifacts_of_the_store_that_this_is_a_copy_of_are_left_alone(
    client: MlflowClient, home: Path, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "copy").mkdir()
    shutil.copy(home / "mlflow.db", home / "copy" / "mlflow.db")
    finished_run(client)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/copy/mlflow.db")
    copied = MlflowClient(tracking.default_uri())
    copied.create_experiment("beside", artifact_location=str(home / "mlruns" / "1"))
    assert "orphaned-artifacts" not in doctor.findings()


# Journals and checkpoints.


def test_cut_run_that_the_store_never_heard_of_is_delivered(
    client: MlflowClient, store: str, doctor: Doctor
) -> None:
    dead_journal(store, "0")
    done = doctor.fix()
    assert done == {"undelivered": "1 run handed over"}
    # What it had come to is kept for the same command to go on with.
    found = doctor.findings()
    assert {kind: f.severity for kind, f in found.items()} == {"resumable": Severity.NOTE}
    (run,) = client.search_runs(["0"])
    assert (run.info.status, run.data.metrics[keys.TRAIN_LOSS]) == ("KILLED", 1.5)


def test_finished_run_that_the_store_does_not_have_is_delivered(
    client: MlflowClient, store: str, doctor: Doctor
) -> None:
    folder = dead_journal(store, "0")
    journal = Journal(folder)
    journal.append("end", status="FAILED", time=123)
    journal.close()
    mended(doctor, "undelivered")
    assert [run.info.status for run in client.search_runs(["0"])] == ["FAILED"]
    assert not folder.exists()


def test_journal_of_a_cell_that_was_finished_elsewhere_is_removed(
    client: MlflowClient, doctor: Doctor
) -> None:
    finished_run(client)
    store = ledger.find(client)
    journal = Journal(dead_journal(store, "0"))
    journal.append("end", status="KILLED", time=123)
    journal.append("synced")
    journal.close()
    mended(doctor, "orphaned-journal")
    assert not journal.folder.exists()


def test_journal_without_a_line_is_removed(store: str, doctor: Doctor) -> None:
    folder = state.journals_dir(store) / CELL
    Journal(folder).close()
    mended(doctor, "orphaned-journal")
    assert not folder.exists()


def test_refused_journal_is_offered_once_more(
    client: MlflowClient, store: str, doctor: Doctor
) -> None:
    experiment = client.create_experiment("deleted")
    client.delete_experiment(experiment)
    dead_journal(store, experiment)
    refused = doctor.examine(fix=True)
    assert "refused" in doctor.findings()
    assert refused
    client.restore_experiment(experiment)
    assert doctor.fix() == {"refused": "1 run handed over"}
    assert doctor.findings().keys() == {"resumable"}
    assert [run.info.status for run in client.search_runs([experiment])] == ["KILLED"]


def test_store_that_refuses_again_is_said(client: MlflowClient, store: str, doctor: Doctor) -> None:
    experiment = client.create_experiment("deleted")
    client.delete_experiment(experiment)
    dead_journal(store, experiment)
    doctor.examine(fix=True)
    doctor.examine(fix=True)
    (folder,) = doctor.findings()["refused"].items
    assert Path(folder).is_dir()


def test_what_a_living_process_uses_is_left_alone(client: MlflowClient, doctor: Doctor) -> None:
    with opened(client) as tracker:
        grid = open_grid(tracker)
        run = open_cell(tracker, grid.parent)
        run.log_epoch(EPOCHS[0])
        assert tracker.courier.flush(20, insist=True)
        checkpoint = state.checkpoint_path(tracker.address.store, "a trajectory")
        checkpoint.parent.mkdir()
        checkpoint.write_bytes(b"a state")
        half = checkpoint.with_name(f".{checkpoint.name}.new")
        half.write_bytes(b"half a state")
        (tracker.journals / CELL / ".test_predictions.npz.new").write_bytes(b"half")
        before = files_below(state.state_dir())
        assert doctor.findings() == {}
        assert doctor.fix() == {}
        assert files_below(state.state_dir()) == before
        run.finish(result())
        assert tracker.courier.flush(20, insist=True)
        assert status(client, run.run_id) == "FINISHED"


def test_checkpoints_that_nobody_reads_again_are_deleted(
    client: MlflowClient, store: str, doctor: Doctor
) -> None:
    journal = Journal(dead_journal(store, "0"))
    journal.append("end", status="KILLED", time=123)
    journal.append("synced")
    journal.close()
    needed = state.checkpoint_path(store, "a trajectory")
    orphan = state.checkpoint_path(store, "nobody's")
    durable.replace(needed, b"a state")
    durable.replace(orphan, b"a state")
    aside = orphan.with_name("other.checkpoint.set-aside")
    aside.write_bytes(b"damaged")
    halves = [orphan.with_name(".other.checkpoint.new"), journal.folder / ".predictions.npz.new"]
    for half in halves:
        half.write_bytes(b"half")
    kinds = {"orphaned-checkpoint", "set-aside-checkpoint", "leftover"}
    assert doctor.findings().keys() == {*kinds, "resumable"}
    assert doctor.fix().keys() == kinds
    assert doctor.findings().keys() == {"resumable"}
    assert needed.exists()
    assert not any(path.exists() for path in (orphan, aside, *halves))


def test_what_is_kept_of_a_store_that_is_gone_is_moved_aside(
    client: MlflowClient, home: Path, empty_store: Path, doctor: Doctor
) -> None:
    finished_run(client)
    old = ledger.find(client)
    journal = dead_journal(old, "0")
    shutil.copy(empty_store, home / "replaced.db")
    (home / "replaced.db").replace(home / "mlflow.db")
    # The old store's connections hold the file that was replaced.
    code = "import doctor_fixtures as f; print(*f.Doctor().findings())"
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=home,
        env=os.environ | {"PYTHONPATH": f"{Path(__file__).parent}:{Path(__file__).parents[1]}"},
    )
    assert "store-gone" in found.stdout.split()
    (home / "mlflow.db").unlink()
    assert doctor.findings().keys() == {"no-store", "store-gone"}
    assert "moved to" in doctor.fix()["store-gone"]
    assert doctor.findings().keys() == {"no-store"}
    aside = state.state_dir() / "of-stores-that-are-gone" / old / "journals" / journal.name
    assert (aside / "journal.jsonl").exists()


def test_what_waits_for_another_store_is_a_note(
    client: MlflowClient,
    home: Path,
    empty_store: Path,
    doctor: Doctor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    finished_run(client)
    dead_journal(ledger.find(client), "0")
    shutil.copy(empty_store, home / "second.db")
    here = tracking.default_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/second.db")
    found = doctor.findings()
    assert found.keys() == {"undelivered-elsewhere"}
    assert f"MLFLOW_TRACKING_URI={here} mnist-ops sync" in found["undelivered-elsewhere"].cure


# Data, disk and environment.


def test_damaged_data_is_fetched_again(small_data: Path, doctor: Doctor) -> None:
    folder = small_data / "MNIST" / "raw"
    path = folder / "train-images-idx3-ubyte"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    # The data folder itself is the first of the sources.
    shutil.copy(gzip_files("MNIST")[path.name], folder)
    (folder / "t10k-labels-idx1-ubyte").unlink()
    shutil.copy(gzip_files("MNIST")["t10k-labels-idx1-ubyte"], folder)
    mended(doctor, "data-corrupt")


def test_data_that_no_source_gives_stays_named(
    small_data: Path, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    (small_data / "MNIST" / "raw" / "train-images-idx3-ubyte").unlink()
    # The small files are nobody's but ours: every other source gives others, if it is reached.
    monkeypatch.setattr("mnist_ops.data.store.ensure.__kwdefaults__", {"sources": ()})
    (diagnosis,) = [d for d in doctor.examine(fix=True) if d.failed]
    ((finding, why),) = diagnosis.failed.items()
    assert finding.kind == "data-incomplete"
    assert "no source gives train-images-idx3-ubyte" in why
    assert not diagnosis.is_well


def test_chosen_data_folder_that_is_not_there(
    home: Path, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MNIST_OPS_DATA", str(home / "not mounted"))
    assert doctor.findings()["data-missing"].severity is Severity.PROBLEM


def test_full_disk_is_named(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "RESERVE_BYTES", 2**80)
    assert "nothing more is written" in doctor.findings()["disk-full"].what


def test_little_disk_is_a_note(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "LITTLE_BYTES", 2**80)
    seen = doctor.examine()[1].seen
    assert {(f.kind, f.severity) for f in seen.findings} == {("disk-little", Severity.NOTE)}


def install(folder: Path, name: str, version: str, *requires: str) -> None:
    """What an installer would leave of a package."""
    about = folder / f"{name}-{version}.dist-info"
    about.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {line}" for line in requires]
    (about / "METADATA").write_text("\n".join(lines) + "\n")


def test_packages_that_do_not_fit(
    home: Path, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(home / "site", "click", "7.0")
    install(home / "site", "torchvision", "0.99.0", "torch==2.99.0", "numpy")
    monkeypatch.syspath_prepend(home / "site")
    found = doctor.findings()
    assert found.keys() == {"package-version", "torch-pair"}
    assert "click 7.0 is not >=8.1" in found["package-version"].what
    assert "'click>=8.1'" in found["package-version"].cure
    assert "torchvision 0.99.0 needs torch==2.99.0" in found["torch-pair"].what


def test_no_compiler_and_no_browser_are_notes(
    home: Path, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(home))
    monkeypatch.delenv("BROWSER_PATH", raising=False)
    seen = doctor.examine()[0].seen
    assert "no-compiler" in {finding.kind for finding in seen.findings}
    assert {finding.severity for finding in seen.findings} == {Severity.NOTE}


# The command.


def test_without_fix_nothing_is_changed(
    client: MlflowClient, home: Path, store: str, doctor: Doctor
) -> None:
    plant_everything(client, home, store)
    before = files_below(home)
    assert len(doctor.findings()) > 8
    assert files_below(home) == before


def test_command_names_mends_and_is_clean_at_the_second_look(
    client: MlflowClient, home: Path, store: str
) -> None:
    kinds = plant_everything(client, home, store)
    looked = CliRunner().invoke(main, ["doctor"])
    assert looked.exit_code == 1
    assert "`mnist-ops doctor --fix` mends" in looked.stderr
    found = json.loads(CliRunner().invoke(main, ["doctor", "--json"]).stdout)
    assert found["well"] is False
    named = {f["kind"] for s in found["subjects"] for f in s["findings"]}
    assert kinds <= named
    fixed = CliRunner().invoke(main, ["doctor", "--fix"])
    assert fixed.exit_code == 0, fixed.output
    assert fixed.stdout.count("mended") >= len(kinds)
    again = CliRunner().invoke(main, ["doctor", "--json"])
    assert again.exit_code == 0
    left = {f["kind"] for s in json.loads(again.stdout)["subjects"] for f in s["findings"]}
    assert not kinds & left


def plant_everything(client: MlflowClient, home: Path, store: str) -> set[str]:
    """One of each defect that can stand beside the others; their kinds."""
    whole = finished_run(client)
    copy_of(client, whole)
    torn = copy_of(client, whole, **{keys.FINGERPRINT: "f" * 16})
    predictions_path(client, torn).write_bytes(b"torn")
    client.create_run("0", tags={keys.ROLE: keys.ROLE_GRID, keys.OWNER: str(DEAD)})
    opened_by_mlflow(client, GRID_PARAMS, age_s=4000)
    client.log_param(store, "a_cell.1", str(DEAD))
    dead_journal(store, "0", folder="another", name="another", tags=_tags_of("another"))
    Journal(state.journals_dir(store) / "empty").close()
    durable.replace(state.checkpoint_path(store, "nobody's"), b"a state")
    checkpoints = state.checkpoint_path(store, "").parent
    (checkpoints / "x.checkpoint.set-aside").write_bytes(b"damaged")
    (checkpoints / ".x.checkpoint.new").write_bytes(b"half")
    (home / "mlruns" / "7" / ("0" * 32) / "artifacts").mkdir(parents=True)
    gone = dead_journal("e" * 32, "0")
    state.note_address("e" * 32, f"sqlite:///{home}/gone.db")
    assert gone.exists()
    return {
        "duplicate",
        "half-logged",
        "ghost",
        "never-begun",
        "dead-claim",
        "undelivered",
        "orphaned-journal",
        "orphaned-checkpoint",
        "set-aside-checkpoint",
        "leftover",
        "orphaned-artifacts",
        "store-gone",
    }


def _tags_of(cell: str) -> dict[str, str]:
    return {keys.FINGERPRINT: cell, keys.JOURNAL: "0123456789abcdef", keys.OWNER: str(DEAD)}


@pytest.mark.slow
def test_a_grid_that_runs_is_well_and_one_that_was_killed_is_mended(
    home: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.chdir(home)
    environment = os.environ | {"MNIST_OPS_STATE": str(home / "state")}
    monkeypatch.setenv("MNIST_OPS_STATE", str(home / "state"))
    grid = subprocess.Popen(
        [sys.executable, "-m", "mnist_ops", "run", "resnet_grid", "--workers", "2", "--quiet"],
        env=environment,
        start_new_session=True,
    )
    try:
        doctor = Doctor()
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline:
            if len(list((home / "state").glob("*/journals/*"))) > 2:
                break
            time.sleep(0.5)
        for _ in range(3):
            assert doctor.findings() == {}
            assert doctor.fix() == {}
    finally:
        workers = psutil.Process(grid.pid).children(recursive=True)
        os.killpg(grid.pid, signal.SIGKILL)
        grid.wait(30)
        psutil.wait_procs(workers, timeout=10)
    assert doctor.findings().keys() >= {"ghost", "undelivered"}
    assert "undelivered" in doctor.fix()
    problems = {f.kind for f in doctor.findings().values() if f.severity is Severity.PROBLEM}
    assert problems == set()
    runs = tracking.cell_runs(client)
    assert set(runs["status"]) <= {"FINISHED", "KILLED"}
