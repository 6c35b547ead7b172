"""Start-up: which of the packages that take long a command or a worker imports."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import start_up

from mnist_ops.core import cuda

# Of what MLflow does not bring.
_SVM_WORKER = {"dask", "distributed", "sklearn"}
# Whether there is a CUDA device tells torch alone, if there is a driver for one.
_DEVICE = {"torch"} if cuda.is_available() else set()
ALLOWED = {
    "help": set(),
    "help of each command": set(),
    "catalogs": set(),
    "comparison": {"pandas", "statsmodels"},
    "registered model": set(),
    "tracking": set(),
    "status": set(),
    "doctor": set(),
    "sync": set(),
    "export": set(),
    "summarize": {"plotly", "statsmodels"},
    "run --dry-run": {"dask", "distributed"} | _DEVICE,
    "main process of a grid": {"dask", "distributed"} | _DEVICE,
    "worker, support vector machines": _SVM_WORKER,
    # torch's optimizers import torch._dynamo, with torchvision or without.
    "worker, networks": _SVM_WORKER | {"fvcore", "torch", "torch._dynamo", "torchvision"},
}


def imported(folder: Path) -> dict[str, dict[str, object]]:
    """Case -> what it imported; one process for all of them, which each is a fork of."""
    cases = [*start_up.BARE, "with MLflow", *start_up.ON_STORE]
    environment = os.environ | {"MNIST_OPS_STATE": str(folder / "state")}
    environment.pop("MLFLOW_TRACKING_URI", None)
    done = subprocess.run(
        [sys.executable, start_up.__file__, *cases],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return {found.pop("case"): found for found in map(json.loads, done.stdout.splitlines())}


# One test for all, as they share a process.
@pytest.mark.slow
def test_imports_are_those_that_a_command_needs(tmp_path: Path) -> None:
    found = imported(tmp_path)
    assert found.keys() == ALLOWED.keys()
    for case, result in found.items():
        assert result["error"] in ("", "Exit(0)", "Exit(1)"), case
        assert set(result["imported"]) <= ALLOWED[case], case
    # What is imported is seen.
    assert "torchvision" in found["worker, networks"]["imported"]
