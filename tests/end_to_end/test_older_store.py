"""A store and an export file that an older version wrote (tests/data/README.md) still work."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from transfer_fixtures import call

from mnist_ops import tracking

ARCHIVE = Path(__file__).parents[1] / "data" / "before-rooms" / "store.tar.xz"
SIZE = ["--train-limit", "64", "--test-limit", "40", "--workers", "0", "--device", "cpu"]
NETWORKS = [
    *["--set", "model=resnet18", "--set", "batch_size=32", "--set", "optimizer=Adam"],
    *["--set", "learning_rate=0.001", "--set", "epochs=1,2", "--set", "pin_memory=false"],
]
SVMS = ["--set", "kernel=rbf,poly", "--set", "gamma=scale", "--set", "C=1", "--seeds", "0,1"]
CELLS = 12


@pytest.fixture
def older(home: Path, small_data: Path) -> Path:
    """The older store in the working folder, and its export beside it."""
    shutil.unpack_archive(ARCHIVE, home)
    return home


@pytest.mark.parametrize(
    ("arguments", "skipped"), [(["resnet_grid", *NETWORKS], 4), (["svm_grid", *SVMS], 8)]
)
def test_finished_cells_are_skipped(older: Path, arguments: list[str], skipped: int) -> None:
    (report,) = json.loads(call("run", *arguments, *SIZE, "--json").stdout)
    assert len(report["skipped"]) == skipped
    assert not report["finished"]


@pytest.mark.slow
def test_report(older: Path) -> None:
    report = call("summarize", "--preset", "custom-64-40", "--format", "json", "--json")
    assert json.loads(report.stdout)["cells"]["finished"] == CELLS


def test_verified(older: Path) -> None:
    result = call("verify", "svm-mnist-rbf-c1-gscale-s0", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)


def test_export_is_the_same_and_can_be_imported(
    older: Path, elsewhere: Callable[[str], MlflowClient]
) -> None:
    assert call("export", "again.zip").exit_code == 0
    assert (older / "again.zip").read_bytes() == (older / "runs.zip").read_bytes()
    there = elsewhere("other")
    assert call("import", str(older / "runs.zip")).exit_code == 0
    assert len(tracking.cell_runs(there)) == CELLS
