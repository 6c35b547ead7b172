"""``mnist-ops doctor --undo`` takes back what ``--fix`` has done."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from doctor_fixtures import (
    CELL,
    DEAD,
    Doctor,
    all_runs,
    copy_of,
    finished_run,
    plant_everything,
    status,
)
from mlflow import MlflowClient

from mnist_ops import tracking
from mnist_ops.cli import main
from mnist_ops.core import keys, paths
from mnist_ops.core.errors import MnistOpsError
from mnist_ops.ops.doctor import fix_record

pytestmark = pytest.mark.usefixtures("small_data")


def without_accuracy(client: MlflowClient, **tags: str) -> str:
    run_id = finished_run(client, metrics={keys.TEST_ACCURACY: float("nan")})
    for key, value in tags.items():
        client.set_tag(run_id, key, value)
    return run_id


@pytest.mark.parametrize("error", [None, "what was said before"])
def test_run_gets_its_status_time_and_error_back(
    client: MlflowClient, doctor: Doctor, error: str | None
) -> None:
    run_id = without_accuracy(client, **({keys.ERROR: error} if error else {}))
    before = all_runs(client)
    doctor.fix()
    assert status(client, run_id) == "KILLED"
    undone = doctor.undo()
    assert undone is not None
    assert len(undone.taken_back) == 1
    assert undone.did == ["1 run FINISHED without a result: 1 run set to KILLED"]
    assert all_runs(client) == before


def test_duplicates_come_back(client: MlflowClient, doctor: Doctor) -> None:
    copy_of(client, finished_run(client))
    before = all_runs(client)
    assert "duplicate" in doctor.fix()
    assert all_runs(client) != before
    doctor.undo()
    assert all_runs(client) == before


def test_ended_run_is_open_again(client: MlflowClient, store: str, doctor: Doctor) -> None:
    tags = {keys.ROLE: keys.ROLE_CELL, keys.FINGERPRINT: CELL, keys.OWNER: str(DEAD)}
    ghost = client.create_run("0", tags=tags).info.run_id
    doctor.fix()
    doctor.undo()
    assert status(client, ghost) == "RUNNING"
    assert keys.ERROR not in client.get_run(ghost).data.tags


def test_undo_goes_back_fix_by_fix(client: MlflowClient, doctor: Doctor) -> None:
    copy_of(client, finished_run(client))
    first = all_runs(client)
    assert doctor.fix().keys() == {"duplicate"}
    (kept,) = tracking.finished(client, "resnet_grid").values()
    client.log_metric(kept, keys.TEST_ACCURACY, float("nan"))
    assert doctor.fix().keys() == {"half-logged"}
    assert doctor.undo() is not None
    assert status(client, kept) == "FINISHED"
    assert doctor.undo() is not None
    assert {r["run_id"]: r["stage"] for r in all_runs(client)} == {
        r["run_id"]: r["stage"] for r in first
    }
    assert doctor.undo() is None


def test_what_was_changed_since_is_left(client: MlflowClient, doctor: Doctor) -> None:
    run_id = without_accuracy(client)
    doctor.fix()
    client.set_terminated(run_id, "FAILED")
    undone = doctor.undo()
    assert undone is not None
    assert (len(undone.taken_back), len(undone.left)) == (0, 1)
    assert status(client, run_id) == "FAILED"
    assert doctor.undo() is None


def test_only_what_was_done_to_this_store_is_taken_back(
    client: MlflowClient,
    home: Path,
    empty_store: Path,
    doctor: Doctor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_id = without_accuracy(client)
    doctor.fix()
    shutil.copy(empty_store, home / "second.db")
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/second.db")
        assert doctor.undo() is None
    assert doctor.undo() is not None
    assert status(client, run_id) == "FINISHED"


def test_line_that_an_interruption_has_torn(client: MlflowClient, doctor: Doctor) -> None:
    run_id = without_accuracy(client)
    with (paths.state_dir() / fix_record.RECORD).open("ab") as record:
        record.write(b'\n{"kind": "change", "fix": "20')
    doctor.fix()
    assert doctor.undo() is not None
    assert status(client, run_id) == "FINISHED"


def test_nothing_is_changed_while_another_fixes(client: MlflowClient, doctor: Doctor) -> None:
    run_id = without_accuracy(client)
    with fix_record.exclusive_fix():
        failed = [why for d in doctor.examine(fix=True) for why in d.failed.values()]
        assert failed == [
            "another `mnist-ops doctor` is fixing or undoing: wait until it has ended"
        ]
        assert status(client, run_id) == "FINISHED"
    doctor.fix()
    with (
        fix_record.exclusive_fix(),
        pytest.raises(MnistOpsError, match="another `mnist-ops doctor`"),
    ):
        doctor.undo()
    assert status(client, run_id) == "KILLED"


def test_command_says_how_and_does(client: MlflowClient, home: Path, store: str) -> None:
    def call(*options: str) -> Any:
        return CliRunner().invoke(main, ["doctor", *options])

    assert call("--undo").stdout == "no fix to take back\n"
    plant_everything(client, home, store)
    before = {run["run_id"]: run for run in all_runs(client)}
    fixed = call("--fix", "--force", "--json")
    assert json.loads(fixed.stdout)["undo"] == "mnist-ops doctor --undo"
    assert json.loads(call("--fix", "--force", "--json").stdout)["undo"] is None
    undone = call("--undo")
    assert undone.exit_code == 0, undone.output
    assert "left as it is" not in undone.stdout
    after = {run["run_id"]: run for run in all_runs(client)}
    for run_id, run in before.items():
        if run_id != store and run["status"] != "RUNNING":
            assert after[run_id] == run
        assert after[run_id]["status"] == run["status"]
    assert json.loads(call("--undo", "--json").stdout) == {"undone": None}


@pytest.mark.parametrize("options", [["--undo", "--fix"], ["--force"], ["--undo", "--force"]])
def test_options_that_do_not_go_together(home: Path, options: list[str]) -> None:
    assert CliRunner().invoke(main, ["doctor", *options]).exit_code == 2


# Each case is a fork, so that the program is imported once.
_KILLED = """
import json, os, shutil, signal, sys, time
from pathlib import Path
from doctor_fixtures import Doctor, all_runs
from mnist_ops import tracking
from mnist_ops.ops.doctor import Severity

def child(work, after=None):
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException as error:
            print("failed:", repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    if after is not None:
        time.sleep(after)
        os.kill(pid, signal.SIGKILL)
    _, code = os.waitpid(pid, 0)
    return code, time.monotonic() - began

def finish():
    doctor = Doctor()
    doctor.fix(force=True)
    problems = [f.kind for f in doctor.issues().values() if f.severity is Severity.PROBLEM]
    assert not problems, problems
    while doctor.undo():
        pass
    client = tracking.connect(tracking.default_uri(), create=False)
    runs = sorted((r["run_id"], r["status"], r["stage"]) for r in all_runs(client))
    print(json.dumps(runs), flush=True)

home, rounds = Path.cwd(), int(sys.argv[1])
shutil.copytree(home, home.with_name("planted"))
took = 0.0
for number in range(rounds + 1):
    # The first one is not killed: it says how long a fix takes.
    after = None if number == 0 else took * number / (rounds + 1)
    code, seconds = child(lambda: Doctor().fix(force=True), after)
    took = took or seconds
    assert child(finish)[0] == 0
    for path in home.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(home.with_name("planted"), home, dirs_exist_ok=True)
"""


@pytest.mark.slow
def test_fix_that_was_killed_ends_well_with_the_same_command_and_can_be_undone(
    client: MlflowClient, home: Path, store: str
) -> None:
    plant_everything(client, home, store)
    ran = subprocess.run(
        [sys.executable, "-c", _KILLED, "12"],
        cwd=home,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    lines = ran.stdout.splitlines()
    assert len(lines) == 13
    # The run that was handed over is another one each time.
    first, *others = [[r for r in json.loads(line) if r[1] != "KILLED"] for line in lines]
    assert all(runs == first for runs in others)
    assert len(first) >= 4
