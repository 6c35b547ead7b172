"""The MLproject, run by `mlflow run` as users do, on the real data sets."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from mnist_ops import tracking
from mnist_ops.core import keys

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def _parameters(**values: str) -> list[str]:
    return [part for name, value in values.items() for part in ("-P", f"{name}={value}")]


SMALL = _parameters(train_limit="60", test_limit="40", workers="1")


@pytest.fixture
def project(home: Path) -> Path:
    """A copy of the project in a folder of its own, as a clone would be."""
    folder = home / "clone"
    for name in ("mnist_ops", "pipelines"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("MLproject", "conda.yaml"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def in_project(project: Path, *command: str) -> str:
    """Run a command there, with no variable set but the path to this environment's programs."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=project, env=os.environ | {"PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def mlflow_run(project: Path, entry: str, *parameters: str) -> None:
    in_project(project, "mlflow", "run", ".", "-e", entry, "--env-manager", "local", *parameters)


def client_of(project: Path) -> MlflowClient:
    return tracking.connect(f"sqlite:///{project}/mlflow.db", create=False)


@pytest.mark.parametrize(
    ("entry", "parameters", "cells"),
    [
        ("svm_grid", _parameters(kernel="rbf", C="1", datasets="MNIST"), 2),
        (
            "resnet_grid",
            _parameters(
                model="resnet18",
                epochs="1",
                batch_size="32",
                datasets="MNIST",
                learning_rate="1e-3",
                pin_memory="false",
                device="cpu",
            ),
            2,
        ),
        ("device_compare", _parameters(model="resnet18", device="cpu"), 2),
    ],
)
def test_each_study_works_alone(
    project: Path, entry: str, parameters: list[str], cells: int
) -> None:
    mlflow_run(project, entry, *SMALL, *parameters)
    client = client_of(project)
    runs = tracking.cell_runs(client)
    assert len(runs) == cells
    assert set(runs["status"]) == {"FINISHED"}
    for metric in (keys.TEST_ACCURACY, keys.TEST_F1, keys.TRAIN_TIME_S, keys.FLOPS):
        assert (runs[metric] > 0).all()
    parents = {client.get_run(r).data.tags["mlflow.parentRunId"] for r in runs["run_id"]}
    (parent,) = map(client.get_run, parents)
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["mlflow.project.entryPoint"] == entry
    summarize = ["mnist-ops", "summarize", "--format", "html,json", "--json"]
    report = json.loads(in_project(project, *summarize))
    assert report["preset"] == "custom-60-40"
    assert (project / "report" / "index.html").exists()


@pytest.mark.timeout(1800)
def test_the_whole_study_is_one_command(project: Path) -> None:
    tiny = _parameters(train_limit="10", test_limit="10", device="cpu")
    mlflow_run(project, "main", "--experiment-name", "mnist-ops", *tiny)
    runs = tracking.cell_runs(client_of(project))
    assert runs.groupby("study").size().to_dict() == {
        "resnet_grid": 128,
        "svm_grid": 24,
        "device_compare": 4,
    }
    assert set(runs["status"]) == {"FINISHED"}
    assert (project / "report" / "index.html").exists()
    client = client_of(project)
    assert {each.name for each in client.search_experiments()} == {"Default", "mnist-ops"}
    (top,) = client.search_runs(
        [client.get_experiment_by_name("mnist-ops").experiment_id],
        f"tags.`{keys.ROLE}` = '{keys.ROLE_MAIN}'",
    )
    attached = [file.path for file in client.list_artifacts(top.info.run_id, "report")]
    assert "report/index.html" in attached
    before = len(runs)
    mlflow_run(project, "main", *tiny)
    assert len(tracking.cell_runs(client_of(project))) == before
