"""``mnist-ops doctor``: nothing changes without --fix, all at once, and beside a grid that runs."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import psutil
import pytest
from click.testing import CliRunner
from doctor_fixtures import (
    Doctor,
    files_below,
    plant_everything,
)
from mlflow import MlflowClient

from mnist_ops import tracking
from mnist_ops.cli import main
from mnist_ops.ops.doctor import Severity

pytestmark = pytest.mark.usefixtures("small_data")


def test_without_fix_nothing_is_changed(
    client: MlflowClient, home: Path, store: str, doctor: Doctor
) -> None:
    plant_everything(client, home, store)
    before = files_below(home)
    assert len(doctor.issues()) > 8
    assert files_below(home) == before


def test_command_names_fixes_and_is_clean_at_the_second_look(
    client: MlflowClient, home: Path, store: str
) -> None:
    kinds = plant_everything(client, home, store)
    looked = CliRunner().invoke(main, ["doctor"])
    assert looked.exit_code == 1
    assert "`mnist-ops doctor --fix` fixes" in looked.stderr
    found = json.loads(CliRunner().invoke(main, ["doctor", "--json"]).stdout)
    assert found["well"] is False
    named = {f["kind"] for s in found["subjects"] for f in s["findings"]}
    assert kinds <= named
    fixed = CliRunner().invoke(main, ["doctor", "--fix", "--force"])
    assert fixed.exit_code == 0, fixed.output
    assert "`mnist-ops doctor --undo` takes this back" in fixed.stdout
    assert sum(line.startswith("fixed ") for line in fixed.stdout.splitlines()) >= len(kinds)
    again = CliRunner().invoke(main, ["doctor", "--json"])
    assert again.exit_code == 0
    left = {f["kind"] for s in json.loads(again.stdout)["subjects"] for f in s["findings"]}
    assert not kinds & left


def test_a_terminal_of_80_columns_gets_whole_words(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told() -> list[str]:
        lines = click.unstyle(CliRunner().invoke(main, ["doctor"]).stdout).splitlines()
        # What is free may differ from call to call.
        return [line for line in lines if not line.startswith("ok      disk")]

    whole = told()
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    broken = told()
    assert " ".join(broken).split() == " ".join(whole).split()
    assert max(map(len, whole)) > 80
    assert all(len(line) <= 80 or len(line.split()) == 1 for line in broken)


@pytest.mark.slow
def test_a_grid_that_runs_is_ok_and_one_that_was_killed_is_fixed(
    home: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.chdir(home)
    environment = os.environ | {"MNIST_OPS_STATE": str(home / "state")}
    monkeypatch.setenv("MNIST_OPS_STATE", str(home / "state"))
    grid = subprocess.Popen(
        [sys.executable, "-m", "mnist_ops", "run", "resnet_grid", "--workers", "2", "--quiet"],
        env=environment,
        start_new_session=True,
    )
    try:
        doctor = Doctor()
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline:
            if len(list((home / "state").glob("*/journals/*"))) > 2:
                break
            time.sleep(0.5)
        for _ in range(3):
            assert doctor.issues() == {}
            assert doctor.fix() == {}
    finally:
        workers = psutil.Process(grid.pid).children(recursive=True)
        os.killpg(grid.pid, signal.SIGKILL)
        grid.wait(30)
        psutil.wait_procs(workers, timeout=10)
    assert doctor.issues().keys() >= {"ghost", "undelivered"}
    assert "undelivered" in doctor.fix()
    problems = {f.kind for f in doctor.issues().values() if f.severity is Severity.PROBLEM}
    assert problems == set()
    runs = tracking.cell_runs(client)
    assert set(runs["status"]) <= {"FINISHED", "KILLED"}
