"""Journals and their way to the store: each event once, in order, whatever happens between."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from mnist_ops import tracking
from mnist_ops.core import atomic_files, keys
from mnist_ops.core.errors import DiskFull
from mnist_ops.study.results import EpochResult, FitResult
from mnist_ops.study.specs import SvmSpec
from mnist_ops.tracking import claims, provenance
from mnist_ops.tracking.journal import Journal, JournalBusy, JournalGone, read
from mnist_ops.tracking.journal_upload import REFUSED
from mnist_ops.tracking.tracker import Address, Tracker

SPEC = SvmSpec(study="svm_grid", dataset="MNIST", kernel="rbf", C=10.0)
EPOCHS = [EpochResult(1, 1.5, 0.5, 10.0), EpochResult(2, 0.7, 0.8, 20.5)]
RESULT = FitResult(
    predictions=np.array([1, 2, 3], np.uint8),
    labels=np.array([1, 2, 4], np.uint8),
    test_index=np.array([7, 8, 9], np.int32),
    n_train=100,
    n_val=14,
    metrics={keys.TEST_ACCURACY: 2 / 3} | EPOCHS[-1].metrics,
)


class Processes:
    """Trackers as processes that start one after the other on one machine would have them."""

    def __init__(self, client: MlflowClient):
        self.client = client
        store = claims.find(client)
        assert store is not None
        self.here = Address(tracking.default_uri(), store)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.nowhere = Address(f"http://127.0.0.1:{free.getsockname()[1]}", store)
        self.lines: list[str] = []
        self.open: list[Tracker] = []

    def start(self, *, store_is_away: bool = False) -> Tracker:
        tracker = Tracker(self.nowhere if store_is_away else self.here, self.lines.append)
        self.open.append(tracker)
        return tracker

    def die(self, tracker: Tracker) -> None:
        """Leave the files of `tracker`, unlocked, as a killed process does."""
        tracker.uploader.close()
        tracker.claims.stop_heartbeat()

    def cell(self, tracker: Tracker, *, claimed: bool = False, forced: bool = False):
        parent = tracking.Parent("0" * 32, "0")
        place = tracking.CellPlace(parent, "quick", "d" * 16, "t", keys.TIME_MEASURED, forced)
        return tracking.CellRun(tracker, SPEC, place, claimed=claimed)

    def runs(self) -> list[tuple[str, str]]:
        """Id and status of each run of the cell."""
        found = tracking.cell_runs(self.client)
        return [] if found.empty else list(zip(found["run_id"], found["status"], strict=True))


@pytest.fixture
def processes(client: MlflowClient) -> Iterator[Processes]:
    made = Processes(client)
    yield made
    for tracker in made.open:
        tracker.close()


def delivered(tracker: Tracker) -> bool:
    return tracker.uploader.flush(20, retry=True)


def test_every_event_arrives_once(processes: Processes, client: MlflowClient) -> None:
    tracker = processes.start()
    run = processes.cell(tracker)
    folder = tracker.journals / SPEC.fingerprint
    run.log_epoch(EPOCHS[0])
    assert delivered(tracker)
    run.log_epoch(EPOCHS[1])
    run.finish(RESULT)
    assert delivered(tracker)
    ((run_id, status),) = processes.runs()
    assert status == "FINISHED"
    assert tracking.history(client, run_id, keys.TRAIN_LOSS) == [(1, 1.5), (2, 0.7)]
    assert tracking.predictions(client, run_id).predicted.tolist() == [1, 2, 3]
    assert not folder.exists()


def test_what_is_sent_again_is_not_doubled(processes: Processes, client: MlflowClient) -> None:
    first = processes.start()
    run = processes.cell(first)
    run.log_epoch(EPOCHS[0])
    assert delivered(first)
    processes.die(first)
    second = processes.start()
    run = processes.cell(second)
    for epoch in EPOCHS:
        run.log_epoch(epoch)
    run.finish(RESULT)
    assert delivered(second)
    ((run_id, status),) = processes.runs()
    assert status == "FINISHED"
    for metric in (keys.TRAIN_LOSS, keys.VAL_ACCURACY, keys.TRAIN_TIME_S):
        assert [step for step, _ in tracking.history(client, run_id, metric)] == [1, 2]
    tags = client.get_run(run_id).data.tags
    assert tags[keys.SEGMENTS] == "2"
    assert keys.ERROR not in tags


def test_a_store_that_is_away_gets_it_later_as_it_was(
    processes: Processes, client: MlflowClient
) -> None:
    first = processes.start(store_is_away=True)
    run = processes.cell(first)
    for epoch in EPOCHS:
        run.log_epoch(epoch)
    run.finish(RESULT)
    assert not first.uploader.flush(20, retry=False)
    assert first.uploader.last_error
    assert first.uploader.waiting == 1
    processes.die(first)
    assert processes.runs() == []
    journal = Journal(first.journals / SPEC.fingerprint)
    times = {e["kind"]: e["time"] for e in journal.events if "time" in e}
    journal.close()

    second = processes.start()
    assert second.take_over() == 1
    assert delivered(second)
    ((run_id, status),) = processes.runs()
    stored = client.get_run(run_id)
    assert status == "FINISHED"
    assert (stored.info.start_time, stored.info.end_time) == (times["open"], times["end"])
    losses = client.get_metric_history(run_id, keys.TRAIN_LOSS)
    assert [(point.step, point.value) for point in losses] == [(1, 1.5), (2, 0.7)]
    assert all(times["open"] <= point.timestamp <= times["end"] for point in losses)
    assert second.take_over() == 0


def test_a_run_whose_making_was_not_answered_is_found(
    processes: Processes, client: MlflowClient
) -> None:
    first = processes.start(store_is_away=True)
    processes.cell(first)
    processes.die(first)
    journal = Journal(first.journals / SPEC.fingerprint)
    opened = journal.opened
    made = client.create_run("0", start_time=opened["time"], tags=opened["tags"])
    journal.append("end", status="KILLED", time=opened["time"] + 1)
    journal.close()
    second = processes.start()
    second.take_over()
    assert delivered(second)
    assert processes.runs() == [(made.info.run_id, "KILLED")]


def test_a_run_that_goes_on_is_the_same_run(processes: Processes) -> None:
    first = processes.start()
    run = processes.cell(first)
    run.log_epoch(EPOCHS[0])
    run.stop("stopped")
    assert delivered(first)
    ((before, status),) = processes.runs()
    assert status == "KILLED"
    processes.die(first)
    second = processes.start()
    assert second.take_over() == 0
    run = processes.cell(second)
    assert delivered(second)
    assert processes.runs() == [(before, "RUNNING")]
    run.finish(RESULT)
    assert delivered(second)
    assert processes.runs() == [(before, "FINISHED")]


def test_a_cell_that_another_has_finished_is_not_finished_twice(
    processes: Processes, client: MlflowClient
) -> None:
    away = processes.start(store_is_away=True)
    processes.cell(away).finish(RESULT)
    processes.die(away)
    is_cell = {
        keys.FINGERPRINT: SPEC.fingerprint,
        keys.SPEC: SPEC.canonical,
        keys.STUDY: SPEC.study,
    }
    other = client.create_run("0", tags=is_cell)
    client.log_metric(other.info.run_id, keys.TEST_ACCURACY, 0.5)
    client.set_terminated(other.info.run_id)
    here = processes.start()
    here.take_over()
    assert delivered(here)
    assert processes.runs() == [(other.info.run_id, "FINISHED")]
    assert not (here.journals / SPEC.fingerprint).exists()


def test_a_cell_that_another_computes_waits(processes: Processes, client: MlflowClient) -> None:
    away = processes.start(store_is_away=True)
    processes.cell(away).finish(RESULT)
    processes.die(away)
    elsewhere = tracking.ProcessId("another-host/0123abcd/42", 7, 1.0)
    theirs = claims.Claims(client, processes.here.store, elsewhere)
    theirs.claim([SPEC.fingerprint])
    here = processes.start()
    here.take_over()
    here.uploader.flush(20, retry=True)
    assert here.uploader.waiting == 1
    assert here.uploader.pending == {"process 7 on another-host computes their cells": 1}
    assert processes.runs() == []
    theirs.close()
    assert delivered(here)
    ((_, status),) = processes.runs()
    assert status == "FINISHED"


def test_a_run_that_was_deleted_is_made_again(processes: Processes, client: MlflowClient) -> None:
    tracker = processes.start()
    run = processes.cell(tracker)
    run.log_epoch(EPOCHS[0])
    assert delivered(tracker)
    client.delete_run(run.run_id)
    run.log_epoch(EPOCHS[1])
    run.finish(RESULT)
    assert delivered(tracker)
    ((run_id, status),) = processes.runs()
    assert status == "FINISHED"
    assert tracking.history(client, run_id, keys.TRAIN_LOSS) == [(1, 1.5), (2, 0.7)]


@pytest.mark.usefixtures("short_pauses")
def test_what_the_store_refuses_is_kept(processes: Processes, client: MlflowClient) -> None:
    tracker = processes.start()
    client.delete_experiment("0")
    processes.cell(tracker).finish(RESULT)
    assert delivered(tracker)
    (line,) = processes.lines
    assert "refuses a run" in line
    (kept,) = tracker.journals.iterdir()
    assert kept.name.endswith(REFUSED)
    assert (kept / keys.PREDICTIONS).exists()


def test_a_run_of_another_processor_does_not_go_on(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = processes.start()
    processes.cell(first).log_epoch(EPOCHS[0])
    assert delivered(first)
    processes.die(first)
    monkeypatch.setattr(provenance, "arithmetic", lambda device: {"cpu": "another"})
    second = processes.start()
    processes.cell(second).finish(RESULT)
    assert delivered(second)
    assert sorted(status for _, status in processes.runs()) == ["FINISHED", "KILLED"]


def test_dead_runs_of_cells_that_nobody_goes_on_with_end(processes: Processes) -> None:
    first = processes.start()
    processes.cell(first)
    assert delivered(first)
    processes.die(first)
    second = processes.start()
    assert second.take_over(keep=lambda fingerprint: fingerprint == SPEC.fingerprint) == 0
    assert second.take_over() == 1
    assert delivered(second)
    ((_, status),) = processes.runs()
    assert status == "KILLED"


OPENED = {
    "experiment_id": "1",
    "name": "a",
    "tags": {keys.JOURNAL: "b"},
    "params": {},
    "forced": False,
}


def journal(folder: Path) -> Journal:
    made = Journal(folder / "run")
    if not made.events:
        made.append("open", time=1, **OPENED)
        made.append("metrics", time=2, step=1, values={"a": 1.0})
    return made


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_torn_line_is_dropped(tmp_path: Path, cut: int) -> None:
    made = journal(tmp_path)
    made.append("metrics", time=3, step=2, values={"a": 2.0})
    made.close()
    path = tmp_path / "run" / "journal.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    again = journal(tmp_path)
    assert [event["kind"] for event in again.events] == ["open", "metrics"]
    again.append("end", time=4, status="KILLED")
    again.close()
    assert [event["kind"] for event in journal(tmp_path).events] == ["open", "metrics", "end"]


def test_a_changed_line_ends_the_journal(tmp_path: Path) -> None:
    journal(tmp_path).close()
    path = tmp_path / "run" / "journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"a":1.0', b'"a":9.0'))
    assert [event["kind"] for event in journal(tmp_path).events] == ["open"]


def test_a_journal_has_one_writer(tmp_path: Path) -> None:
    made = journal(tmp_path)
    with pytest.raises(JournalBusy):
        Journal(tmp_path / "run")
    made.close()
    with pytest.raises(JournalGone):
        made.append("end", time=3, status="KILLED")


@pytest.mark.slow
def test_a_journal_that_is_removed_while_others_open_it_has_one_writer(tmp_path: Path) -> None:
    folder = tmp_path / "run"

    def write(writer: int) -> int:
        written = 0
        while written < 60:
            try:
                made = Journal(folder)
            except JournalBusy:
                continue
            assert made.events == []
            made.append("open", time=writer, **OPENED)
            _, on_disk, _ = read(folder)
            assert [event["time"] for event in on_disk] == [writer]
            made.remove()
            written += 1
        return written

    with ThreadPoolExecutor(4) as writers:
        assert list(writers.map(write, range(4))) == [60] * 4
    assert list(tmp_path.iterdir()) == []


def test_a_journal_whose_removal_was_cut_is_not_delivered_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = journal(tmp_path)
    made.add_artifact("big", b"x" * 100)

    def die(folder: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mnist_ops.tracking.journal.shutil.rmtree", die)
        with pytest.raises(KeyboardInterrupt):
            made.remove()
    made.close()
    (left,) = tmp_path.iterdir()
    assert Journal(left).events == []


def test_a_full_disk_loses_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = journal(tmp_path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("mnist_ops.tracking.journal.os.fsync", full)
        with pytest.raises(DiskFull, match="make room"):
            made.append("end", time=3, status="KILLED")
    made.append("end", time=4, status="FINISHED")
    made.close()
    assert [event.get("time") for event in journal(tmp_path).events] == [1, 2, 4]


def test_an_artifact_is_not_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = journal(tmp_path)
    monkeypatch.setattr(atomic_files, "RESERVE_BYTES", 2**60)
    with pytest.raises(DiskFull):
        made.add_artifact("big", b"x" * 100)
    assert [event["kind"] for event in made.events] == ["open", "metrics"]
    assert not (tmp_path / "run" / "big").exists()
