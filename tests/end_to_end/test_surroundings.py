"""Unusual environments: a user without home or name, Python's options, Ctrl-C at a start."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from faults import Grid

from mnist_ops.core import keys
from mnist_ops.tracking import provenance

CELL = "svm_grid --datasets MNIST --set kernel=rbf --set C=1 --set gamma=scale"


def call(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "mnist_ops", *arguments],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("command", ["data", "status"])
def test_home_that_is_not_known_is_asked_for(home: Path, command: str) -> None:
    done = call(command, HOME="nowhere")
    assert done.returncode == 1
    assert done.stderr == ("mnist-ops: it is not known where your home folder is: set HOME to it\n")


@pytest.mark.slow
def test_warnings_of_libraries_end_nothing(home: Path) -> None:
    done = call("run", *CELL.split(), "--workers", "1", "--dry-run", PYTHONWARNINGS="error")
    assert (done.returncode, done.stderr) == (0, "1 cell\n")
    done = call("status", PYTHONWARNINGS="error,ignore::FutureWarning")
    assert done.returncode == 1
    assert "no grid in the store" in done.stderr
    assert "Warning" not in done.stderr


def test_user_whom_the_system_knows_by_number_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    pwd = pytest.importorskip("pwd")

    def unknown(number: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert provenance.user() == f"uid {os.getuid()}"


def test_commit_of_a_checkout_of_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Git has this variable for tests of its own."""
    commit = provenance.tags("cpu")[keys.GIT_COMMIT]
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    provenance.tags.cache_clear()
    assert provenance.tags("cpu")[keys.GIT_COMMIT] == commit


@pytest.mark.slow
@pytest.mark.parametrize("after_s", [0.0, 3.0, None], ids=["at once", "3 s", "a worker is there"])
def test_interrupted_while_workers_start(home: Path, after_s: float | None) -> None:
    limits = ["--train-limit", "64", "--test-limit", "64"]
    grid = Grid(*CELL.split(), *limits, "--workers", "2", log=home / "grid.log")
    grid.wait_until_said("Starting")
    if after_s is None:
        while not grid.workers():
            assert grid.process.poll() is None
            time.sleep(0.05)
    else:
        time.sleep(after_s)
    assert grid.process.poll() is None
    children = psutil.Process(grid.process.pid).children(recursive=True)
    # One of Python's own ends after the process that it serves.
    started = [process for process in children if not _tracks_resources(process)]
    assert started or after_s == 0
    # As a terminal does: to all of them.
    os.killpg(grid.process.pid, signal.SIGINT)
    assert grid.wait() == 130
    assert "Traceback" not in grid.said()
    assert grid.said().splitlines()[-1].startswith("mnist-ops: interrupted")
    assert not [process for process in started if _runs(process)]


def _tracks_resources(process: psutil.Process) -> bool:
    """Return whether a process is multiprocessing's resource tracker."""
    try:
        return "resource_tracker" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False


def _runs(process: psutil.Process) -> bool:
    """Return whether a process still computes; one that waits to be reaped does not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
