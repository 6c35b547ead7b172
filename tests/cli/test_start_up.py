"""Start-up: which of the packages that take long a command or a worker imports."""

import json
import subprocess
import sys

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


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """Case -> what it imported; one process for all of them, which each is a fork of."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("start")
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("MNIST_OPS_STATE", str(folder / "state"))
        cases = [*start_up.BARE, "with MLflow", *start_up.ON_STORE]
        done = subprocess.run(
            [sys.executable, start_up.__file__, *cases],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return {found.pop("case"): found for found in map(json.loads, done.stdout.splitlines())}


@pytest.mark.slow
@pytest.mark.parametrize("case", ALLOWED)
def test_imports_are_those_that_it_needs(case: str, imported: dict[str, dict[str, object]]) -> None:
    assert imported[case]["error"] in ("", "Exit(0)", "Exit(1)")
    assert set(imported[case]["imported"]) <= ALLOWED[case]


def test_every_case_is_looked_at() -> None:
    assert ALLOWED.keys() == start_up.BARE.keys() | start_up.ON_STORE.keys()


@pytest.mark.slow
def test_what_is_imported_is_seen(imported: dict[str, dict[str, object]]) -> None:
    assert "torchvision" in imported["worker, networks"]["imported"]
