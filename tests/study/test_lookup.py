"""Lookup: by short name, by module, by file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import pipelines
from mnist_ops.core.errors import InvalidInput
from mnist_ops.study import lookup

OWN = """
from mnist_ops.study.grids import Limits, Preset, Study
from mnist_ops.study.specs import SvmSpec

STUDY = Study(
    name="own",
    title="Own",
    question="?",
    spec=SvmSpec,
    presets={"small": Preset(seeds=(0, 1), limits=Limits(100, 50))},
    grid={"dataset": ("MNIST",), "kernel": ("rbf",), "C": (1.0,), "device": ("cpu",)},
)
"""


def test_short_names_are_those_of_this_project() -> None:
    assert lookup.known("studies") == ("resnet_grid", "svm_grid", "device_compare")
    assert lookup.find("studies", "svm_grid") is pipelines.SVM_GRID


def test_installed_packages_add_names(tmp_path: Path) -> None:
    about = tmp_path / "theirs-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    entry = "theirs = pipelines.svm_grid:STUDY"
    (about / "entry_points.txt").write_text(f"[mnist_ops.studies]\n{entry}\n")
    code = (
        "from mnist_ops.study import lookup\n"
        "print(lookup.known('studies')[-1])\n"
        "print(lookup.find('studies', 'theirs').name, 'theirs' in lookup.ours('studies'))\n"
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["theirs", "svm_grid", "False"]


@pytest.mark.parametrize("place", ["own.py", "own.py:STUDY"])
def test_a_file_of_the_users(place: str, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    study = lookup.find("studies", str(tmp_path / place))
    assert [cell.seed for cell in study.cells("small")] == [0, 1]
    assert study is lookup.find("studies", str(tmp_path / "own.py:STUDY"))


def test_a_module() -> None:
    assert lookup.find("studies", "pipelines.svm_grid:STUDY") is pipelines.SVM_GRID


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("resnet", "study must be one of resnet_grid, svm_grid, device_compare"),
        ("nowhere.py", "nowhere.py:STUDY cannot be loaded: FileNotFoundError"),
        ("pipelines.svm_grid:NONE", "cannot be loaded: AttributeError"),
        ("no.such.module:STUDY", "cannot be loaded: ModuleNotFoundError"),
    ],
)
def test_what_cannot_be_found_is_one_line(name: str, told: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        lookup.find("studies", name)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
