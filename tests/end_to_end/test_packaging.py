"""pyproject.toml, conda.yaml, MLproject and the command line agree."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from installed_wheel import run
from packaging.requirements import Requirement
from PIL import Image

from mnist_ops.cli import COMMANDS, main
from pipelines import STUDIES

ROOT = Path(__file__).parents[2]
ENTRY_POINTS = {"main", "resnet_grid", "svm_grid", "device_compare", "study", "summarize"}


def pyproject() -> Any:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def conda_pins() -> dict[str, str]:
    dependencies = yaml.safe_load((ROOT / "conda.yaml").read_text())["dependencies"]
    (pip,) = [entry["pip"] for entry in dependencies if isinstance(entry, dict)]
    return dict(pin.split("==") for pin in pip)


def test_conda_pins_every_dependency_inside_its_range() -> None:
    required = {
        requirement.name: requirement
        for requirement in map(Requirement, pyproject()["project"]["dependencies"])
    }
    pins = conda_pins()
    assert pins.keys() == required.keys()
    outside = [name for name, pin in pins.items() if pin not in required[name].specifier]
    assert outside == []


def test_conda_python_is_supported() -> None:
    dependencies = yaml.safe_load((ROOT / "conda.yaml").read_text())["dependencies"]
    (python,) = [d for d in dependencies if isinstance(d, str) and d.startswith("python=")]
    version = python.split("=")[-1]
    assert Requirement(f"python{pyproject()['project']['requires-python']}").specifier.contains(
        version
    )


def test_mlproject_declares_the_entry_points() -> None:
    assert entry_points().keys() == ENTRY_POINTS


def entry_points() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "MLproject").read_text())["entry_points"]


def test_every_parameter_of_the_mlproject_is_forwarded() -> None:
    for name, entry in entry_points().items():
        used = set(re.findall(r"\{(\w+)\}", entry["command"]))
        assert used == set(entry["parameters"]), name


def test_every_option_in_the_mlproject_exists() -> None:
    context = click.Context(main)
    commands = [main.get_command(context, name) for name in COMMANDS]
    options = {opt for command in commands for param in command.params for opt in param.opts}
    for name, entry in entry_points().items():
        assert set(re.findall(r"--[\w-]+", entry["command"])) <= options, name
        for axis in re.findall(r"--set (\w+)=", entry["command"]):
            assert axis in STUDIES[name].axes


def test_grids_take_what_every_grid_takes() -> None:
    common = {"preset", "datasets", "seeds", "workers", "scheduler", "device"}
    common |= {"train_limit", "test_limit"}
    for name in STUDIES:
        assert common <= set(entry_points()[name]["parameters"])
        own = set(STUDIES[name].grid) - {"dataset", "device"}
        assert own <= set(entry_points()[name]["parameters"])


@pytest.mark.slow
def test_the_wheel_works_in_a_folder_that_has_pipelines_of_its_own(
    installed: Path, home: Path
) -> None:
    """The user's folder `pipelines` is imported by the user alone, and ours by us."""
    program = str(installed / "mnist-ops")
    (home / "pipelines").mkdir()
    (home / "pipelines" / "__init__.py").write_text("MINE = True\n", encoding="utf-8")
    (home / "mlflow.db").unlink()
    Image.new("L", (28, 28)).save(home / "digit.png")
    run([program, "run", "svm_grid", "--datasets", "MNIST", "--workers", "1", "--champion"], home)
    run([program, "summarize", "--format", "json"], home)
    assert (home / "report" / "index.html").is_file()
    assert "digit.png" in run([program, "predict", "digit.png"], home)
    run([program, "doctor"], home)
    python = str(installed / "python")
    listed = run([python, "-m", "mnist_ops", "run", "svm_grid", "--dry-run"], home)
    assert len(listed.splitlines()) == 24
    code = "import mnist_ops.study.lookup as l; l.known('studies'); import pipelines as p; p.MINE"
    run([python, "-c", code], home)


@pytest.mark.slow
def test_a_checkout_works_in_a_folder_that_has_pipelines_of_its_own(home: Path) -> None:
    (home / "pipelines").mkdir()
    (home / "pipelines" / "__init__.py").write_text("MINE = True\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mnist_ops", "run", "svm_grid", "--dry-run"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(done.stdout.splitlines()) == 24
