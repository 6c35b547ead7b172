"""The doctor on what a machine keeps, and on the machine: each defect named, fixed, and gone."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from data_fixtures import gzip_files
from doctor_fixtures import (
    CELL,
    EPOCHS,
    Doctor,
    dead_journal,
    files_below,
    finished_run,
    fixed,
    open_cell,
    open_grid,
    opened,
    result,
    status,
)
from mlflow import MlflowClient
from requirements import require

from mnist_ops import tracking
from mnist_ops.core import atomic_files, keys, paths
from mnist_ops.ops.doctor import Severity, disk
from mnist_ops.tracking import claims
from mnist_ops.tracking.journal import Journal
from mnist_ops.tracking.leftover_journals import inspect

pytestmark = pytest.mark.usefixtures("small_data")


# Journals and checkpoints.


def test_cut_run_that_the_store_never_heard_of_is_delivered(
    client: MlflowClient, store: str, doctor: Doctor
) -> None:
    dead_journal(store, "0")
    done = doctor.fix()
    assert done == {"undelivered": "1 run uploaded"}
    # What it had come to is kept for the same command to go on with.
    found = doctor.issues()
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
    fixed(doctor, "undelivered")
    assert [run.info.status for run in client.search_runs(["0"])] == ["FAILED"]
    assert not folder.exists()


def test_journal_of_a_cell_that_was_finished_elsewhere_is_removed(
    client: MlflowClient, doctor: Doctor
) -> None:
    finished_run(client)
    store = claims.find(client)
    journal = Journal(dead_journal(store, "0"))
    journal.append("end", status="KILLED", time=123)
    journal.append("synced")
    journal.close()
    fixed(doctor, "orphaned-journal")
    assert not journal.folder.exists()
    doctor.undo()
    assert inspect(journal.folder).events == tuple(journal.events)


def test_journal_without_a_line_is_removed(store: str, doctor: Doctor) -> None:
    folder = paths.journals_dir(store) / CELL
    Journal(folder).close()
    fixed(doctor, "orphaned-journal")
    assert not folder.exists()


@pytest.mark.usefixtures("short_pauses")
def test_refused_journal_is_offered_once_more(
    client: MlflowClient, store: str, doctor: Doctor
) -> None:
    experiment = client.create_experiment("deleted")
    client.delete_experiment(experiment)
    dead_journal(store, experiment)
    refused = doctor.examine(fix=True)
    assert "refused" in doctor.issues()
    assert refused
    client.restore_experiment(experiment)
    assert doctor.fix() == {"refused": "1 run uploaded"}
    assert doctor.issues().keys() == {"resumable"}
    assert [run.info.status for run in client.search_runs([experiment])] == ["KILLED"]


@pytest.mark.usefixtures("short_pauses")
def test_store_that_refuses_again_is_said(client: MlflowClient, store: str, doctor: Doctor) -> None:
    experiment = client.create_experiment("deleted")
    client.delete_experiment(experiment)
    dead_journal(store, experiment)
    doctor.examine(fix=True)
    doctor.examine(fix=True)
    (folder,) = doctor.issues()["refused"].items
    assert Path(folder).is_dir()


def test_what_a_living_process_uses_is_left_alone(client: MlflowClient, doctor: Doctor) -> None:
    with opened(client) as tracker:
        grid = open_grid(tracker)
        run = open_cell(tracker, grid.parent)
        run.log_epoch(EPOCHS[0])
        assert tracker.uploader.flush(20, retry=True)
        checkpoint = paths.checkpoint_path(tracker.address.store, "a fit group")
        checkpoint.parent.mkdir()
        checkpoint.write_bytes(b"a state")
        half = checkpoint.with_name(f".{checkpoint.name}.new")
        half.write_bytes(b"half a state")
        (tracker.journals / CELL / ".test_predictions.npz.new").write_bytes(b"half")
        before = files_below(paths.state_dir())
        assert doctor.issues() == {}
        assert doctor.fix() == {}
        assert files_below(paths.state_dir()) == before
        run.finish(result())
        assert tracker.uploader.flush(20, retry=True)
        assert status(client, run.run_id) == "FINISHED"


def test_checkpoints_that_nobody_reads_again_are_deleted(
    client: MlflowClient, store: str, doctor: Doctor
) -> None:
    journal = Journal(dead_journal(store, "0"))
    journal.append("end", status="KILLED", time=123)
    journal.append("synced")
    journal.close()
    needed = paths.checkpoint_path(store, "a fit group")
    orphan = paths.checkpoint_path(store, "nobody's")
    atomic_files.replace(needed, b"a state")
    atomic_files.replace(orphan, b"a state")
    aside = orphan.with_name("other.checkpoint.set-aside")
    aside.write_bytes(b"damaged")
    halves = [orphan.with_name(".other.checkpoint.new"), journal.folder / ".predictions.npz.new"]
    for half in halves:
        half.write_bytes(b"half")
    kinds = {"orphaned-checkpoint", "set-aside-checkpoint", "leftover"}
    assert doctor.issues().keys() == {*kinds, "resumable"}
    assert doctor.fix().keys() == kinds
    assert doctor.issues().keys() == {"resumable"}
    assert needed.exists()
    assert not any(path.exists() for path in (orphan, aside, *halves))
    doctor.undo()
    assert orphan.read_bytes() == b"a state"


@pytest.mark.slow
def test_what_is_kept_of_a_store_that_is_gone_is_moved_aside(
    client: MlflowClient, home: Path, empty_store: Path, doctor: Doctor
) -> None:
    finished_run(client)
    old = claims.find(client)
    journal = dead_journal(old, "0")
    shutil.copy(empty_store, home / "replaced.db")
    (home / "replaced.db").replace(home / "mlflow.db")
    # The old store's connections hold the file that was replaced.
    code = "import doctor_fixtures as f; print(*f.Doctor().issues())"
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=home,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert "store-gone" in found.stdout.split()
    (home / "mlflow.db").unlink()
    assert doctor.issues().keys() == {"no-store", "store-gone"}
    assert "moved to" in doctor.fix()["store-gone"]
    assert doctor.issues().keys() == {"no-store"}
    aside = paths.state_dir() / "of-stores-that-are-gone" / old / "journals" / journal.name
    assert (aside / "journal.jsonl").exists()


@pytest.mark.parametrize("mounted", ["no folder", "an empty folder"])
def test_store_on_a_disk_that_is_not_mounted_is_not_gone(
    client: MlflowClient, home: Path, doctor: Doctor, mounted: str
) -> None:
    folder = home / "disk"
    if mounted == "an empty folder":
        folder.mkdir()
    dead_journal("e" * 32, "0")
    paths.note_address("e" * 32, f"sqlite:///{folder}/mlflow.db")
    before = files_below(paths.state_dir())
    assert doctor.issues().keys() == {"undelivered-elsewhere"}
    assert doctor.fix(force=True) == {}
    assert files_below(paths.state_dir()) == before


def test_what_waits_for_another_store_is_a_note(
    client: MlflowClient,
    home: Path,
    empty_store: Path,
    doctor: Doctor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    finished_run(client)
    dead_journal(claims.find(client), "0")
    shutil.copy(empty_store, home / "second.db")
    here = tracking.default_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/second.db")
    found = doctor.issues()
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
    fixed(doctor, "data-corrupt")


def test_data_that_no_source_gives_stays_named(
    small_data: Path, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    (small_data / "MNIST" / "raw" / "train-images-idx3-ubyte").unlink()
    # The small files are nobody's but ours: every other source gives others, if it is reached.
    monkeypatch.setattr("mnist_ops.data.store.ensure.__kwdefaults__", {"sources": ()})
    (diagnosis,) = [d for d in doctor.examine(fix=True) if d.failed]
    ((issue, why),) = diagnosis.failed.items()
    assert issue.kind == "data-incomplete"
    assert "no source gives train-images-idx3-ubyte" in why
    assert not diagnosis.is_ok


def test_chosen_data_folder_that_is_not_there(
    home: Path, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MNIST_OPS_DATA", str(home / "not mounted"))
    assert doctor.issues()["data-missing"].severity is Severity.PROBLEM
    doctor.fix()
    assert not (home / "not mounted").exists()


def test_full_disk_is_named(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic_files, "RESERVE_BYTES", 2**80)
    assert "nothing more is written" in doctor.issues()["disk-full"].what


def test_little_disk_is_a_note(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "LITTLE_BYTES", 2**80)
    seen = doctor.examine()[1].seen
    assert {(f.kind, f.severity) for f in seen.issues} == {("disk-little", Severity.NOTE)}


def install(folder: Path, name: str, version: str, *requires: str) -> None:
    """Plant the metadata of an installed package."""
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
    found = doctor.issues()
    assert found.keys() == {"package-version", "torch-pair"}
    assert "click 7.0 does not match >=8.1" in found["package-version"].what
    assert "'click>=8.1'" in found["package-version"].cure
    assert "torchvision 0.99.0 needs torch==2.99.0" in found["torch-pair"].what


def test_no_compiler_and_no_browser_are_notes(
    home: Path, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(home))
    monkeypatch.delenv("BROWSER_PATH", raising=False)
    seen = doctor.examine()[0].seen
    assert "no-compiler" in {issue.kind for issue in seen.issues}
    assert {issue.severity for issue in seen.issues} == {Severity.NOTE}


def test_kernels_that_are_not_used_are_a_note(
    home: Path, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    require(shutil.which("c++"), "needs a C++ compiler")
    monkeypatch.setenv("MNIST_OPS_KERNELS", "0")
    seen = doctor.examine()[0].seen
    assert "no-kernels" in {issue.kind for issue in seen.issues}
