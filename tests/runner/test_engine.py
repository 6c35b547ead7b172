"""The engine: every cell accounted for, whatever happens to some of them."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from displays import Recorder
from faults import Server
from mlflow import MlflowClient

from mnist_ops import tracking
from mnist_ops.core import cancellation, keys, paths
from mnist_ops.core.errors import DataUnavailable, InvalidInput
from mnist_ops.runner import engine
from mnist_ops.runner.plan import plan
from mnist_ops.runner.settings import Settings
from mnist_ops.runner.study_report import StudyReport
from mnist_ops.runner.task import Outcome, Progress
from mnist_ops.runner.workers import WorkersUnavailable
from mnist_ops.study.grids import Choices, Study
from mnist_ops.study.specs import SvmSpec
from pipelines import STUDIES

SMALL = Choices(train_limit=60, test_limit=40)
RESNET = STUDIES["resnet_grid"].with_axes(
    {
        "dataset": ("MNIST",),
        "model": ("resnet18",),
        "batch_size": (32,),
        "learning_rate": (0.001,),
        "epochs": (1,),
        "pin_memory": (False,),
    }
)
SVM = STUDIES["svm_grid"].with_axes({"dataset": ("FashionMNIST",), "C": (1.0,)})


def here(choices: Choices = SMALL, **changes: object) -> Settings:
    return Settings(choices=choices, device="cpu", workers=0, **changes)


@pytest.fixture
def run(small_data: Path):
    def go(*studies: Study, **changes: object) -> tuple[list[StudyReport], Recorder]:
        display = Recorder()
        return engine.run(studies, here(**changes), display), display

    return go


def predictions_of(client: MlflowClient) -> dict[str, bytes]:
    """Fingerprint -> the predictions file of each cell, which has one finished run."""
    runs = tracking.cell_runs(client)
    assert not runs[runs["status"] == "FINISHED"]["fingerprint"].duplicated().any()
    return {
        row["fingerprint"]: Path(
            client.download_artifacts(row["run_id"], keys.PREDICTIONS)
        ).read_bytes()
        for _, row in runs.iterrows()
    }


def test_cells_become_runs_under_their_grid(run, client: MlflowClient) -> None:
    (report,), display = run(RESNET)
    assert {outcome.spec.name for outcome in report.finished} == {
        "resnet18-mnist-sgd-lr0.001-bs32-e1-pin0-s0",
        "resnet18-mnist-adam-lr0.001-bs32-e1-pin0-s0",
    }
    runs = tracking.cell_runs(client)
    assert set(runs["status"]) == {"FINISHED"}
    for metric in (keys.TEST_ACCURACY, keys.TEST_F1, keys.TRAIN_TIME_S, keys.FLOPS):
        assert (runs[metric] > 0).all()
    (parent,) = {
        client.get_run(run_id).data.tags["mlflow.parentRunId"] for run_id in runs["run_id"]
    }
    assert client.get_run(parent).info.status == "FINISHED"
    assert set(runs["experiment_id"]) == {client.get_run(parent).info.experiment_id}
    assert set(runs["preset"]) == {"custom-60-40"}
    # The last of each says that it is over, however it ended.
    assert [p.epoch for p in display.epochs] == [0, 1, 1, 0, 1, 1]


def test_finished_cells_are_not_computed_again(run, client: MlflowClient) -> None:
    (first,), _ = run(SVM)
    (second,), display = run(SVM)
    assert len(first.finished) == len(second.skipped) == 4
    assert not second.finished
    assert display.started == [("Q1(b) SVM grid", 4, 4)]
    assert len(tracking.cell_runs(client)) == 4


@pytest.mark.slow
def test_one_training_serves_the_cells_of_its_fit_group(run, client: MlflowClient) -> None:
    grid = RESNET.with_axes({"epochs": (1, 2), "pin_memory": (False, True), "optimizer": ("SGD",)})
    (shared,), display = run(grid)
    assert [p.epoch for p in display.epochs] == [0, 1, 2, 2]
    runs = tracking.cell_runs(client).set_index("run_id")
    assert len(runs) == len(shared.finished) == 4
    assert sorted(runs["time"]) == ["attributed"] * 3 + ["measured"]
    (measured,) = runs.index[runs["time"] == "measured"]
    assert (runs.loc[measured, "epochs"], runs.loc[measured, "pin_memory"]) == ("2", "False")
    for run_id, row in runs.iterrows():
        assert len(tracking.history(client, run_id, keys.TRAIN_LOSS)) == int(row["epochs"])
    shared_predictions = predictions_of(client)
    (alone,), _ = run(grid, share=False, force=True)
    assert len(alone.finished) == 4
    again = tracking.cell_runs(client)
    assert list(again["time"]) == ["measured"] * 4
    assert predictions_of(client) == shared_predictions
    losses = again.groupby("fingerprint")[keys.TRAIN_LOSS].first()
    assert losses.to_dict() == runs.groupby("fingerprint")[keys.TRAIN_LOSS].first().to_dict()


def test_failure_fails_every_cell_of_the_fit_group(run, client: MlflowClient) -> None:
    hot = RESNET.with_axes({"learning_rate": (1e30,), "optimizer": ("SGD",), "epochs": (1, 2)})
    (report,), _ = run(hot)
    assert len(report.failed) == 2
    assert set(tracking.cell_runs(client)["status"]) == {"FAILED"}


def test_force_computes_again(run, client: MlflowClient) -> None:
    run(SVM)
    before = set(tracking.cell_runs(client)["run_id"])
    (second,), _ = run(SVM, force=True)
    assert len(second.finished) == 4
    # One finished run a cell: the new one replaces the old, which MLflow can restore.
    after = tracking.cell_runs(client)
    assert len(after) == 4
    assert before.isdisjoint(after["run_id"])
    assert {client.get_run(run_id).info.lifecycle_stage for run_id in before} == {"deleted"}


def test_grown_grid_computes_the_new_cells_only(run) -> None:
    run(SVM)
    (report,), _ = run(SVM.with_axes({"C": (1.0, 5.0)}))
    assert {outcome.spec.params["C"] for outcome in report.finished} == {5.0}


def test_same_grid_again_gives_the_same_predictions(run, client: MlflowClient) -> None:
    found = []
    for _ in range(2):
        run(RESNET, force=True)
        found.append(predictions_of(client))
    assert found[0] == found[1]
    assert len(found[0]) == 2


def test_failing_cell_does_not_stop_the_others(run, client: MlflowClient) -> None:
    hot = RESNET.with_axes({"learning_rate": (0.001, 1e30), "optimizer": ("SGD",)})
    (report,), _ = run(hot)
    assert len(report.finished) == 1
    (failed,) = report.failed
    assert "lower learning rate" in failed.error
    stored = client.get_run(failed.run_id)
    assert stored.info.status == "FAILED"
    assert "lower learning rate" in stored.data.tags[keys.ERROR]
    parent = client.get_run(stored.data.tags["mlflow.parentRunId"])
    assert parent.info.status == "FAILED"
    assert failed.spec.name in parent.data.tags["mlflow.note.content"]


def test_failed_cell_is_computed_again_when_asked(run) -> None:
    hot = RESNET.with_axes({"learning_rate": (1e30,), "optimizer": ("SGD",)})
    run(hot)
    (report,), display = run(hot)
    assert not report.failed
    (reason,) = report.failed_before.values()
    assert "lower learning rate" in reason
    assert any("--retry-failed" in line for line in display.lines)
    (report,), _ = run(hot, retry_failed=True)
    assert len(report.failed) == 1
    assert not report.failed_before


@pytest.mark.slow
def test_a_grid_waits_at_its_end_for_a_store_that_is_away(
    small_data: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(tmp_path_factory.mktemp("server"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)

    class Outage(Recorder):
        def outcome(self, outcome: Outcome) -> None:
            super().outcome(outcome)
            if len(self.outcomes) == 2:
                server.stop()

        def log(self, line: str) -> None:
            super().log(line)
            if "trying for" in line:
                server.start()

    display = Outage()
    try:
        (report,) = engine.run([SVM], here(), display)
        assert (len(report.finished), report.pending) == (4, 0)
        assert len(tracking.finished(MlflowClient(server.uri), SVM.name)) == 4
        assert any("does not answer" in line for line in display.lines)
    finally:
        server.stop()


def test_several_studies_stand_under_one_run(run, client: MlflowClient) -> None:
    reports, _ = run(SVM, RESNET)
    assert [report.study for report in reports] == ["svm_grid", "resnet_grid"]
    cell = client.get_run(reports[0].finished[0].run_id)
    grid = client.get_run(cell.data.tags["mlflow.parentRunId"])
    top = client.get_run(grid.data.tags["mlflow.parentRunId"])
    assert (grid.data.tags[keys.ROLE], top.data.tags[keys.ROLE]) == ("grid", "main")
    assert top.info.status == grid.info.status == "FINISHED"


def test_run_that_mlflow_opened_is_the_grid(
    run, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = client.create_run(
        client.create_experiment("of the user"), tags={"mlflow.project.entryPoint": "svm_grid"}
    )
    monkeypatch.setenv("MLFLOW_RUN_ID", opened.info.run_id)
    (report,), _ = run(SVM)
    cell = client.get_run(report.finished[0].run_id)
    assert cell.data.tags["mlflow.parentRunId"] == opened.info.run_id
    assert cell.info.experiment_id == opened.info.experiment_id


def test_interrupted_grid_leaves_no_open_run(small_data: Path, client: MlflowClient) -> None:
    class Impatient(Recorder):
        def progress(self, progress: Progress) -> None:
            if len(self.outcomes) == 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.run([RESNET], here(), Impatient())
    status = tracking.cell_runs(client)["status"]
    assert sorted(status) == ["FINISHED", "KILLED"]
    (grid,) = client.search_runs(
        [e.experiment_id for e in client.search_experiments()],
        f"tags.`{keys.ROLE}` = '{keys.ROLE_GRID}'",
    )
    assert grid.info.status == "KILLED"


def test_without_cuda_the_other_half_is_named() -> None:
    planned = plan(STUDIES["device_compare"], Settings(preset="paper"), has_cuda=False)
    assert len(planned.cells) == len(planned.not_measured) == 4
    assert set(planned.not_measured.values()) == {"not measured: no CUDA device"}


@pytest.mark.parametrize(
    ("study", "asked", "has_cuda", "devices"),
    [
        ("resnet_grid", "auto", False, {"cpu"}),
        ("resnet_grid", "auto", True, {"cuda"}),
        ("resnet_grid", "cpu", True, {"cpu"}),
        ("svm_grid", "auto", True, {"cpu"}),
        ("svm_grid", "cuda", True, {"cpu"}),
        ("device_compare", "auto", True, {"cpu", "cuda"}),
        ("device_compare", "cuda", True, {"cuda"}),
        ("device_compare", "cpu", True, {"cpu"}),
    ],
)
def test_device(study: str, asked: str, has_cuda: bool, devices: set[str]) -> None:
    planned = plan(STUDIES[study], Settings(device=asked), has_cuda=has_cuda)
    assert {cell.device for cell in planned.cells} == devices


def test_cuda_asked_for_by_name_must_be_there() -> None:
    with pytest.raises(WorkersUnavailable, match="no CUDA device found"):
        plan(STUDIES["resnet_grid"], Settings(device="cuda"), has_cuda=False)


def test_wrong_values_end_before_anything_is_opened(home: Path) -> None:
    study = STUDIES["svm_grid"].with_axes({"kernel": ("cubic",)})
    with pytest.raises(InvalidInput, match="kernel"):
        engine.run([study], here(), Recorder())
    assert not (home / "mlruns").exists()


def test_limit_that_the_data_cannot_give_fails_the_cell_by_name(run) -> None:
    (report,), _ = run(SVM, choices=Choices(train_limit=50_000, test_limit=40))
    assert not report.finished
    assert {"train_limit" in outcome.error for outcome in report.failed} == {True}


def test_missing_data_ends_before_the_grid_begins(
    small_data: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise DataUnavailable("no source gives it")

    monkeypatch.setattr("mnist_ops.data.ensure", gone)
    with pytest.raises(DataUnavailable):
        engine.run([SVM], here(), Recorder())
    assert tracking.cell_runs(client).empty


def test_scheduler_that_is_not_there(small_data: Path) -> None:
    settings = Settings(choices=SMALL, scheduler="tcp://127.0.0.1:1")
    with pytest.raises(WorkersUnavailable, match="no Dask scheduler answers"):
        engine.run([SVM], settings, Recorder())


@pytest.mark.slow
def test_worker_processes_give_the_predictions_of_this_process(
    home: Path, client: MlflowClient
) -> None:
    """On the real data sets: child processes do not see the small ones of the other tests."""
    display = Recorder()
    found = []
    for workers in (0, 2):
        settings = Settings(choices=SMALL, device="cpu", workers=workers, force=True)
        engine.run([RESNET, SVM], settings, display)
        found.append(predictions_of(client))
    assert not [outcome.error for outcome in display.outcomes if outcome.error]
    assert len(found[0]) == 6
    assert found[0] == found[1]
    assert any(progress.epoch == 1 for progress in display.epochs)


@pytest.mark.slow
def test_existing_dask_cluster(home: Path, client: MlflowClient) -> None:
    shared = ["--host", "127.0.0.1", "--no-dashboard"]
    shared += ["--scheduler-file", str(home / "scheduler.json")]
    scheduler, worker = (
        subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.dask_{role}", *shared, *more],
            stderr=subprocess.DEVNULL,
        )
        for role, more in (("scheduler", ["--port", "0"]), ("worker", ["--nthreads", "1"]))
    )
    try:
        deadline = time.monotonic() + 60
        while not (home / "scheduler.json").exists() and time.monotonic() < deadline:
            time.sleep(0.2)
        address = json.loads((home / "scheduler.json").read_text())["address"]
        settings = Settings(choices=SMALL, scheduler=address)
        (report,) = engine.run([SVM], settings, Recorder())
    finally:
        for process in (worker, scheduler):
            process.terminate()
            process.wait(30)
    assert len(report.finished) == 4
    assert set(tracking.cell_runs(client)["status"]) == {"FINISHED"}


@pytest.mark.slow
def test_sigterm_ends_every_run_in_its_true_state(home: Path, client: MlflowClient) -> None:
    command = [sys.executable, "-m", "mnist_ops", "run", "resnet_grid", "--workers", "1"]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("[1/"):
            break
    process.send_signal(signal.SIGTERM)
    told = process.stderr.read()
    assert process.wait(60) == 130
    assert "interrupted" in told
    assert "Traceback" not in told
    status = set(tracking.cell_runs(client)["status"])
    assert "FINISHED" in status
    assert "RUNNING" not in status


def test_specs_are_hashable_cells() -> None:
    spec = SvmSpec(study="svm_grid", dataset="MNIST", kernel="rbf", C=1.0)
    assert len({spec, SvmSpec(study="svm_grid", dataset="MNIST", kernel="rbf", C=1.0)}) == 1


@pytest.mark.slow
def test_an_interrupted_cell_goes_on_as_the_same_run(
    small_data: Path, client: MlflowClient
) -> None:
    long = RESNET.with_axes({"epochs": (3,), "optimizer": ("Adam",)})

    class Impatient(Recorder):
        def progress(self, progress: Progress) -> None:
            if progress.epoch == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.run([long], here(checkpoint_s=0), Impatient())
    (cut,) = tracking.cell_runs(client)["run_id"]
    (report,) = engine.run([long], here(checkpoint_s=0), Recorder())
    (outcome,) = report.finished
    assert outcome.run_id == cut
    stored = client.get_run(cut)
    assert stored.info.status == "FINISHED"
    assert stored.data.tags[keys.SEGMENTS] == "2"
    assert keys.ERROR not in stored.data.tags
    assert [step for step, _ in tracking.history(client, cut, keys.TRAIN_LOSS)] == [1, 2, 3]
    in_parts = predictions_of(client)
    engine.run([long], here(force=True), Recorder())
    assert predictions_of(client) == in_parts
    assert not list(state_files(small_data.parent))


def state_files(home: Path) -> list[Path]:
    """Return the journals that are kept on this machine."""
    found = (home / "state").rglob("*")
    return [path for path in found if path.is_file() and path.name != paths.ADDRESS]


def test_world_at_fault_leaves_the_cell_for_the_next_start(
    run, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("mnist_ops.core.atomic_files.RESERVE_BYTES", 2**60)
        (report,), _ = run(RESNET, checkpoint_s=0)
    assert not report.finished
    assert {"make room" in outcome.error for outcome in report.problems} == {True}
    assert set(tracking.cell_runs(client)["status"]) <= {"KILLED"}
    (report,), _ = run(RESNET)
    assert len(report.finished) == 2


def test_a_wish_to_stop_saves_and_ends(small_data: Path, client: MlflowClient) -> None:
    class Stops(Recorder):
        def progress(self, progress: Progress) -> None:
            if progress.epoch == 1:
                cancellation.request()

    long = RESNET.with_axes({"epochs": (3,)})
    with pytest.raises(KeyboardInterrupt):
        engine.run([long], here(), Stops())
    assert set(tracking.cell_runs(client)["status"]) == {"KILLED"}
    assert [path.suffix for path in state_files(small_data.parent)].count(".checkpoint") == 1
    (report,) = engine.run([long], here(), Recorder())
    assert len(report.finished) == 2
    assert state_files(small_data.parent) == []


def test_stale_runs_of_ended_grids_end(run, client: MlflowClient) -> None:
    place = tracking.ProcessId.this_process().place
    dead = tracking.ProcessId(place, 2**22 + 1, 1.0)
    tags = {keys.ROLE: keys.ROLE_GRID, keys.OWNER: str(dead)}
    ghost = client.create_run(client.create_experiment("old"), tags=tags)
    alive = client.create_run(
        "0", tags={keys.ROLE: keys.ROLE_GRID, keys.OWNER: str(tracking.ProcessId.this_process())}
    )
    run(SVM)
    assert client.get_run(ghost.info.run_id).info.status == "KILLED"
    assert client.get_run(alive.info.run_id).info.status == "RUNNING"
