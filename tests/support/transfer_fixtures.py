"""Runs on the move: some in a store, their export, and an empty store elsewhere."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import tracked_runs
from click.testing import CliRunner, Result
from mlflow import MlflowClient

from mnist_ops import tracking
from mnist_ops.cli import main
from mnist_ops.core import keys


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), catch_exceptions=False)


def refused(result: Result, code: int = 2) -> str:
    """The one line of a command that was refused."""
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("mnist-ops: ")
    return line


def write_runs() -> list[str]:
    """Write three cells of two studies into the store of the working folder; return their ids."""
    with tracked_runs.grid("other") as other:
        third = other.write(2, wrong=2)
    with tracked_runs.grid() as grid:
        first, second = (grid.write(number, wrong=number) for number in range(2))
        reasons = {"a" * 16: "not measured: no CUDA device"}
        grid.run.note({keys.NOT_MEASURED: json.dumps(reasons)})
    return [first, second, third]


@pytest.fixture
def runs(home: Path) -> list[str]:
    """Three cells of two studies in the store of the working folder."""
    return write_runs()


@pytest.fixture(scope="session")
def export_file(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """An export of such runs, for tests that need no store with them."""
    folder = tmp_path_factory.mktemp("exported")
    shutil.copy(empty_store, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("TRACKING_URI", "RUN_ID", "EXPERIMENT_NAME", "EXPERIMENT_ID"):
            patch.delenv(f"MLFLOW_{variable}", raising=False)
        patch.setenv("MNIST_OPS_STATE", str(folder / "state"))
        patch.chdir(folder)
        write_runs()
        assert call("export", "first.zip").exit_code == 0
    return folder / "first.zip"


@pytest.fixture
def exported(runs: list[str], home: Path) -> Path:
    assert call("export", "first.zip").exit_code == 0
    return home / "first.zip"


@pytest.fixture
def elsewhere(
    home: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], MlflowClient]:
    """Go to an empty store in another folder of the given name; its client."""

    def go(name: str) -> MlflowClient:
        folder = home / name
        folder.mkdir()
        shutil.copy(empty_store, folder / "mlflow.db")
        monkeypatch.chdir(folder)
        return tracking.connect(tracking.default_uri())

    return go
