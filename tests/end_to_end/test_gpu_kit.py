"""The kit for a machine with a GPU: what is packed arrives, and what is left out is not needed."""

import hashlib
import json
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import gpu_kit
import gpu_proof
import pytest
import torch

HERE = "{}.{}".format(*sys.version_info)
# Imports what the stages of the proof do, tests apart, with nothing there of what is left out.
WITHOUT = """
import importlib.abc, sys
class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0].lower() in {names!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
import conftest, specs, data_fixtures
import mnist_ops.cli.run, mnist_ops.runner.engine, mnist_ops.runner.workers.start
import mnist_ops.fitting.resnet_method, mnist_ops.tracking.exchange, mnist_ops.cli.progress
from mnist_ops import tracking
tracking.connect("sqlite:///mlflow.db")
print("imported")
"""
MODULES = {"graphql-core": "graphql", "graphql-relay": "graphql_relay"}


def kit_of(folder: Path, python: str = HERE) -> Path:
    """A kit with one library and one data set."""
    kit, files = folder / "kit", folder / "files"
    (files / "library").mkdir(parents=True)
    (files / "library" / "__init__.py").write_text("ANSWER = 42\n")
    (files / "MNIST" / "raw").mkdir(parents=True)
    (files / "MNIST" / "raw" / "images").write_bytes(bytes(1000))
    kit.mkdir()
    gpu_kit.archive(kit / gpu_kit.LIBRARIES, files, ["library"])
    gpu_kit.archive(kit / "data-MNIST.tar.xz", files, ["MNIST"])
    digests = {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in kit.iterdir()}
    (kit / gpu_kit.MANIFEST).write_text(json.dumps({"python": python, "sha256": digests}))
    return kit


def proof_in(folder: Path) -> gpu_proof.Proof:
    folder.mkdir(exist_ok=True)
    return gpu_proof.Proof(Namespace(device="cpu", streams=2, out=folder, minutes=1.0))


def test_what_is_packed_arrives(tmp_path: Path) -> None:
    kit, proof = kit_of(tmp_path), proof_in(tmp_path / "out")
    proof.unpack(kit)
    assert (tmp_path / "out" / "libraries" / "library" / "__init__.py").is_file()
    assert (tmp_path / "out" / "data" / "MNIST" / "raw" / "images").read_bytes() == bytes(1000)
    proof.unpack(kit)


def test_a_damaged_kit_or_one_for_another_python_is_refused(tmp_path: Path) -> None:
    kit = kit_of(tmp_path)
    with (kit / "data-MNIST.tar.xz").open("ab") as file:
        file.write(b"x")
    with pytest.raises(SystemExit, match="is damaged"):
        proof_in(tmp_path / "out").unpack(kit)
    with pytest.raises(SystemExit, match=r"for Python 3\.1, this is"):
        proof_in(tmp_path / "out").unpack(kit_of(tmp_path / "other", python="3.1"))


def test_what_the_machine_has_is_left_out() -> None:
    names = ["torch", "numpy", "Mlflow_Skinny", "bokeh", "dask"]
    report = {"install": [{"metadata": {"name": name, "version": "1.2"}} for name in names]}
    assert gpu_kit.packed(report) == ["dask==1.2", "mlflow-skinny==1.2"]
    wanted = {gpu_kit.name_of(each) for each in gpu_kit.requirements()}
    assert {"mlflow", "fvcore", "ninja", "pytest", "pytest-timeout"} <= wanted
    assert not wanted & {"torch", "torchvision"}


@pytest.mark.slow
def test_what_is_left_out_is_not_imported(tmp_path: Path) -> None:
    names = {MODULES.get(name, name).replace("-", "_").lower() for name in gpu_kit.NOT_IMPORTED}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(names=names)],
        cwd=tmp_path,
        env=os.environ | {"MNIST_OPS_STATE": str(tmp_path / "state"), "PYTHONPATH": _paths()},
        capture_output=True,
        text=True,
    )
    assert done.stdout.endswith("imported\n"), done.stderr


def _paths() -> str:
    tests = gpu_kit.ROOT / "tests"
    return os.pathsep.join(map(str, (gpu_kit.ROOT, tests, tests / "support")))


def test_skipped_tests_of_cuda_are_counted(tmp_path: Path) -> None:
    (tmp_path / "test_these.py").write_text(
        "import pytest\n"
        "def test_one(): pass\n"
        "def test_two(): assert False\n"
        "@pytest.mark.skip(reason='no CUDA device')\n"
        "def test_three(): pass\n"
        "@pytest.mark.skip(reason='no Chrome')\n"
        "def test_four(): pass\n"
    )
    report = tmp_path / "tests.xml"
    command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", str(tmp_path)]
    subprocess.run(command, cwd=tmp_path, capture_output=True)
    assert gpu_proof.tests_in(report) == {"passed": 1, "failed": 1, "skipped": 2}
    assert gpu_proof.skipped_for_cuda(report) == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_there_is_one_line(tmp_path: Path) -> None:
    for kit, line in ((kit_of(tmp_path), "no CUDA device here"), (tmp_path, "there is no kit in")):
        done = subprocess.run(
            [sys.executable, gpu_proof.__file__, "--kit", kit, "--out", tmp_path / "out"],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1
        assert (done.stdout, done.stderr.count("\n")) == ("", 1)
        assert done.stderr.startswith("gpu: ")
        assert line in done.stderr


def test_what_a_progress_display_overwrote_is_not_shown(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"one\r\n10%\r20%\r30%\n\ntwo\n")
    assert gpu_proof.tail(log) == "one\n30%\ntwo"
    assert gpu_proof.tail(log, lines=1) == "two"
