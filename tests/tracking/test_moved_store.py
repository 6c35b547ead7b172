"""A project's folder is moved or copied: artifacts are found and written beside the store."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from doctor_fixtures import RESNET, Doctor, dead_journal, finished_run
from mlflow import MlflowClient
from transfer_fixtures import call

from mnist_ops import tracking
from mnist_ops.core import keys, paths
from mnist_ops.study.specs import ResNetSpec
from mnist_ops.tracking.database import sqlite_uri
from mnist_ops.tracking.moved_artifacts import moved
from mnist_ops.tracking.tracker import store_id

pytestmark = pytest.mark.usefixtures("small_data")


def with_a_finished_run(folder: Path, empty_store: Path) -> None:
    """Put a store into `folder`, where the process is, with artifacts beside it by plain path."""
    shutil.copy(empty_store, folder)
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        location = str(folder / "mlruns" / "0")
        database.execute("UPDATE experiments SET artifact_location = ?", (location,))
        database.commit()
    finished_run(connected())


@pytest.fixture
def project(home: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder with a finished run."""
    folder = home / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    with_a_finished_run(folder, empty_store)
    return folder


def connected() -> MlflowClient:
    return tracking.connect(tracking.default_uri())


def other_spec() -> ResNetSpec:
    fields = {name: getattr(RESNET, name) for name in ("study", "dataset", "model", "batch_size")}
    return ResNetSpec(**fields, optimizer="SGD", learning_rate=0.0001, epochs=2)


def only_run(client: MlflowClient) -> str:
    (run,) = tracking.counted_runs(client)
    return str(run.info.run_id)


def test_moved_store_is_read_where_it_is(
    project: Path, home: Path, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = project.rename(home / "moved")
    monkeypatch.chdir(there)
    client = connected()
    assert tracking.predictions(client, only_run(client)) is not None
    assert call("export", "a.zip").exit_code == 0
    assert doctor.issues().keys() == {"artifacts-moved"}
    assert doctor.fix().keys() == {"artifacts-moved"}
    assert doctor.issues() == {}
    assert client.get_run(only_run(client)).info.status == "FINISHED"
    assert moved(there / "mlflow.db") == []
    # MLflow itself finds them, too.
    assert client.list_artifacts(only_run(client))
    assert not project.exists()


def test_moved_store_is_written_where_it_is(
    project: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = project.rename(home / "moved")
    monkeypatch.chdir(there)
    finished_run(connected(), other_spec())
    assert not project.exists()
    assert len(list(there.glob(f"mlruns/*/*/artifacts/{keys.PREDICTIONS}"))) == 2


def test_copied_store_leaves_its_original_alone(
    project: Path, home: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = connected()
    name = store_id(original, create=False)
    assert name is not None
    experiment = original.get_experiment_by_name("mnist-ops")
    assert experiment is not None
    waiting = dead_journal(name, experiment.experiment_id, other_spec())
    copy = Path(shutil.copytree(project, home / "copy"))
    before = sorted(path for path in project.rglob("*"))
    monkeypatch.chdir(copy)
    assert store_id(connected(), create=False) is None
    finished_run(connected(), other_spec())
    assert sorted(path for path in project.rglob("*")) == before
    assert waiting.exists()
    own = store_id(connected(), create=False)
    assert own not in (None, name)
    assert paths.address_of(name) == sqlite_uri(project / "mlflow.db")
    assert len(tracking.counted_runs(original)) == 1
    monkeypatch.chdir(project)
    assert store_id(connected(), create=False) == name


def test_place_that_was_chosen_elsewhere_is_left_alone(
    project: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is in one folder, the artifacts are in the one that the grid was started in."""
    work = home / "work"
    work.mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", sqlite_uri(work.parent / "stores" / "a.db"))
    monkeypatch.chdir(work)
    finished_run(connected())
    assert moved(work.parent / "stores" / "a.db") == []
    assert len(list(work.glob(f"mlruns/*/*/artifacts/{keys.PREDICTIONS}"))) == 1


def test_location_that_mlflow_would_decode_is_put_right(
    home: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ``mlflow run`` leaves it in a folder whose name has an escape."""
    folder = home / "below" / "a%41b"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    with_a_finished_run(folder, empty_store)
    client = connected()
    client.log_text(client.create_run("0").info.run_id, "text", "file.txt")
    assert [path.name for path in (home / "below").iterdir()] == ["a%41b"]
    assert tracking.predictions(client, only_run(client)) is not None


def test_model_of_a_moved_store(project: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = connected()
    logged = client.create_logged_model("0", "a model")
    folder = project / "given"
    folder.mkdir()
    (folder / "numbers").write_text("1")
    client.log_model_artifacts(logged.model_id, str(folder))
    client.create_registered_model("m")
    client.create_model_version("m", f"models:/{logged.model_id}", model_id=logged.model_id)
    there = project.rename(home / "moved")
    monkeypatch.chdir(there)
    tracking.repoint_moved(tracking.default_uri(), lambda line: None)
    root = connected().get_model_version_download_uri("m", "1")
    assert (Path(root) / "numbers").read_text() == "1"
