"""Folders that may not be written: one line at once that says so, and nothing left RUNNING."""

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tracked_runs

from mnist_ops import tracking
from mnist_ops.core import atomic_files, paths
from mnist_ops.core.errors import NotWritable

GRID = ["run", "svm_grid", "--datasets", "MNIST", "--set", "kernel=rbf", "--set", "C=1", "--set"]
GRID += ["gamma=scale", "--train-limit", "60", "--test-limit", "40", "--workers", "0"]
# Several commands in one process, as each would take seconds to start.
_COMMANDS = """
import json, sys
from click.testing import CliRunner
from mnist_ops.cli import main
from mnist_ops.data.catalog import DATASETS
from data_fixtures import fixture_info
DATASETS["MNIST"] = fixture_info("MNIST")
for command in json.loads(sys.argv[1]):
    done = CliRunner().invoke(main, command)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    print("@" + json.dumps([done.exit_code, done.output]))
"""


def obey_modes() -> None:
    """Have this process be refused what a mode forbids, root too."""
    if os.getuid() == 0:
        # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH leave what the next program may have.
        for capability in (1, 2):
            assert ctypes.CDLL(None).prctl(24, capability, 0, 0, 0) == 0


def told(*commands: list[str]) -> list[tuple[int, str]]:
    """Exit code and output of each command."""
    done = subprocess.run(
        [sys.executable, "-c", _COMMANDS, json.dumps(commands)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        preexec_fn=obey_modes,
    )
    assert done.returncode == 0, done.stderr
    lines = [line[1:] for line in done.stdout.splitlines() if line.startswith("@")]
    return [tuple(json.loads(line)) for line in lines]


@pytest.mark.slow
def test_state_that_cannot_be_written_leaves_no_run(
    small_data: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = home / "closed"
    closed.mkdir()
    closed.chmod(0o555)
    monkeypatch.setenv("MNIST_OPS_STATE", str(closed / "state"))
    ((code, output), (_, seen)) = told(GRID, ["doctor", "--json"])
    assert code == 1
    (line,) = output.splitlines()
    assert "permission denied" in line
    assert "MNIST_OPS_STATE" in line
    assert "not-writable" in seen
    client = tracking.connect(tracking.default_uri())
    assert [e.name for e in client.search_experiments()] == ["Default"]
    # Of one store alone, as after a start by another user.
    closed.chmod(0o755)
    with tracked_runs.grid():
        pass
    (of_store,) = (closed / "state").iterdir()
    of_store.joinpath("journals").chmod(0o555)
    ((code, output),) = told(GRID)
    assert code == 1
    assert str(of_store / "journals") in output
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert {run.info.status for run in runs} == {"FINISHED"}


@pytest.mark.slow
def test_a_project_that_cannot_be_written_is_named_as_one(small_data: Path, home: Path) -> None:
    (home / "state").mkdir()
    tracked_runs.write(1)
    told(["export", "e.zip"])
    (home / "mlflow.db").chmod(0o444)
    home.chmod(0o555)
    commands = [
        GRID,
        ["import", "e.zip"],
        ["champion"],
        ["sync"],
        ["summarize", "--format", "json"],
        ["export", "x.zip"],
        ["data", "MNIST", "--data-dir", "d"],
        ["doctor"],
    ]
    try:
        for command, (code, output) in zip(commands, told(*commands), strict=True):
            assert code == (2 if command[0] == "data" else 1), (command, output)
            assert "permission denied" in output.lower(), (command, output)
            assert "grant yourself write permission" in output, (command, output)
            assert "full" not in output, (command, output)
            assert command[0] in ("doctor", "summarize") or len(output.splitlines()) == 1, output
        assert told(["status"])[0][0] == 0
    finally:
        home.chmod(0o755)


def test_a_file_in_the_place_of_the_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_text("")
    for chosen in ("a", "a/b/c"):
        monkeypatch.setenv("MNIST_OPS_STATE", str(tmp_path / chosen))
        with pytest.raises(NotWritable, match=f"{tmp_path}/a is not a folder"):
            paths.check()
    atomic_files.check_writable(tmp_path / "a")
    atomic_files.check_writable(tmp_path / "b" / "c", folder=True)


def test_what_a_killed_process_left_of_its_work_goes(tmp_path: Path) -> None:
    with atomic_files.work_folder(tmp_path) as ours:
        host = ours.name.removesuffix(ours.name.partition(f"{os.getpid()}-")[2])
        dead = tmp_path / host.replace(str(os.getpid()), str(2**22 + 1))
        elsewhere = tmp_path / f".mnist-ops-another-host-{2**22 + 1}-x"
        for folder in (dead, elsewhere):
            folder.mkdir()
        with atomic_files.work_folder(tmp_path):
            assert ours.exists()
    assert list(tmp_path.iterdir()) == [elsewhere]
