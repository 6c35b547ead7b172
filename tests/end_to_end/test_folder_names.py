"""Projects in folders whose names mean something in a URI or in SQL."""

from pathlib import Path

import mlflow
import pytest
import tracked_runs
from click.testing import CliRunner
from doctor_fixtures import Doctor

from mnist_ops import tracking
from mnist_ops.cli import main

NAMES = (
    "a%41b",
    "feature%2Flogin",
    "x%25y",
    "what?",
    "it's",
    'say "hi"',
    'it\'s "both"',
    "sp ace",
    "ünï",
    "a#b",
    "a;b",
    "a&b",
    "a:b",
)


@pytest.fixture(params=NAMES)
def project(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """An empty folder of such a name, to work in."""
    for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("MNIST_OPS_STATE", str(tmp_path / "state"))
    folder = tmp_path / "projects" / request.param
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


def outside(project: Path) -> list[str]:
    """Return the files beside the project."""
    return [path.name for path in project.parent.iterdir() if path != project]


def test_store_and_artifacts_are_in_the_project(project: Path) -> None:
    uri = tracking.default_uri()
    client = tracking.connect(uri)
    assert tracking.sqlite_path(uri) == project / "mlflow.db"
    made = tracking.experiment(client, "mine")
    for experiment in ("0", made):
        run = client.create_run(experiment)
        client.log_text(run.info.run_id, "text", "file.txt")
        assert list((project / "mlruns").rglob(f"{run.info.run_id}/artifacts/file.txt"))
    # `mlflow ui` opens this relative address, and `mlflow run` hands on the other one.
    assert mlflow.MlflowClient("sqlite:///mlflow.db").get_experiment(made).name == "mine"
    assert tracking.sqlite_path(mlflow.get_tracking_uri()) == project / "mlflow.db"
    assert {path.name for path in project.iterdir()} == {"mlflow.db", "mlruns"}
    assert outside(project) == []


@pytest.mark.slow
@pytest.mark.parametrize("project", ["feature%2Flogin", 'what? it\'s "both"'], indirect=True)
def test_every_command_works_there(project: Path, doctor: Doctor) -> None:
    call = CliRunner().invoke
    tracked_runs.write(0)
    for command in (
        ["summarize", "--format", "json"],
        ["export", "runs.zip"],
        ["import", "runs.zip", "--experiment", "copies"],
        ["status"],
        ["sync"],
    ):
        assert call(main, command).exit_code == 0, command
    # The numbers are made up, and not all of them: their files are all found.
    found = doctor.issues()
    assert found.keys() == {"incomplete"}
    assert all(item.endswith("no test_f1") for item in found["incomplete"].items)
    assert outside(project) == []
