"""Moving runs: out of a real store, into another, and out again."""

import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy
import tracked_runs
from compare_runs import select
from mlflow import MlflowClient
from mlflow.entities import Metric
from transfer_fixtures import call, refused

from mnist_ops import tracking
from mnist_ops.core import keys
from mnist_ops.tracking import exchange
from mnist_ops.tracking.client import CheckedClient
from mnist_ops.tracking.exchange import importing
from mnist_ops.tracking.exchange.records import RunRecord


def rows(path: Path) -> dict[str, int]:
    """Return the number of rows of each table of a store."""
    with sqlite3.connect(path) as database:
        names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {
            name: database.execute(f"SELECT COUNT(*) FROM {name}").fetchone()[0]
            for (name,) in names
        }


def test_export_import_twice_export_is_the_same_bytes(
    exported: Path, home: Path, elsewhere: Callable[[str], MlflowClient]
) -> None:
    elsewhere("other")
    assert "3 runs imported" in call("import", str(exported)).stdout
    first = rows(Path("mlflow.db"))
    again = call("import", str(exported))
    assert "0 runs imported, 3 runs were here" in again.stdout
    assert rows(Path("mlflow.db")) == first
    assert call("export", "second.zip").exit_code == 0
    assert Path("second.zip").read_bytes() == exported.read_bytes()


def test_a_file_is_read_as_the_store_that_imported_it(
    exported: Path, elsewhere: Callable[[str], MlflowClient]
) -> None:
    elsewhere("other")
    call("import", str(exported))
    stored = tracking.StoredRuns()
    # The second file has no cell that the first has not.
    with exchange.ExportedRuns([exported, exported]) as runs:
        place = ["run_id", "experiment_id"]
        frames = [
            of.cell_runs().sort_values("fingerprint", ignore_index=True).sort_index(axis=1)
            for of in (stored, runs)
        ]
        assert frames[0].drop(columns=place).equals(frames[1].drop(columns=place))
        assert runs.not_measured() == stored.not_measured() != {}
        pairs = list(zip(stored.counted_runs(), runs.counted_runs(), strict=True))
        assert len(pairs) == 3
        for theirs, ours in pairs:
            assert ours.data.params == theirs.data.params
            assert ours.data.metrics == theirs.data.metrics
            found, expected = (
                of.predictions(run.info.run_id) for of, run in ((runs, ours), (stored, theirs))
            )
            assert found is not None
            assert expected is not None
            for name, values in vars(expected).items():
                assert np.array_equal(getattr(found, name), values)
            for metric in theirs.data.metrics:
                points = runs.history(ours.info.run_id, metric)
                assert points == stored.history(theirs.info.run_id, metric) != []
            assert [use.dataset.digest for use in ours.inputs.dataset_inputs] == [
                use.dataset.digest for use in theirs.inputs.dataset_inputs
            ]
        assert runs.history(pairs[0][1].info.run_id, "unknown") == []


def test_summarize_reads_a_damaged_file_in_one_line(exported: Path, home: Path) -> None:
    content = bytearray(exported.read_bytes())
    content[200] ^= 1
    Path("damaged.zip").write_bytes(content)
    line = refused(call("summarize", "--from", "damaged.zip"))
    assert "damaged.zip is damaged or altered" in line
    assert not (home / "report").exists()


def test_an_imported_run_is_the_run(
    exported: Path, runs: list[str], client: MlflowClient, elsewhere: Callable[[str], MlflowClient]
) -> None:
    there = elsewhere("other")
    call("import", str(exported))
    by_name = {run.info.run_name: run for run in tracking.counted_runs(there)}
    for run_id in runs:
        old = client.get_run(run_id)
        new = by_name[old.info.run_name]
        assert new.data.params == old.data.params
        assert new.data.metrics == old.data.metrics
        for time in ("start_time", "end_time", "status"):
            assert getattr(new.info, time) == getattr(old.info, time)
        of_the_store = {"mlflow.parentRunId", keys.OWNER, keys.JOURNAL}
        ours = {k: v for k, v in old.data.tags.items() if k not in of_the_store}
        assert {k: new.data.tags[k] for k in ours} == ours
        for metric in old.data.metrics:
            histories = [
                [(p.step, p.timestamp, p.value) for p in c.get_metric_history(i, metric)]
                for c, i in ((client, run_id), (there, new.info.run_id))
            ]
            assert histories[0] == histories[1]
        before, after = (
            tracking.predictions(c, i) for c, i in ((client, run_id), (there, new.info.run_id))
        )
        assert (before.predicted == after.predicted).all()
        assert (before.label == after.label).all()
        assert (before.index == after.index).all()
        assert new.inputs.dataset_inputs[0].dataset.digest == "0123456789abcdef"
    assert tracking.not_measured(there) == tracking.not_measured(client)


def test_more_points_than_one_batch_holds_travel_whole(
    runs: list[str], client: MlflowClient, elsewhere: Callable[[str], MlflowClient], home: Path
) -> None:
    steps = range(1_950)
    points = [Metric("train_loss", 1 / (step + 1), 1_000 + step, step) for step in steps]
    for first in (0, 975):
        client.log_batch(runs[0], metrics=points[first : first + 975])
    assert call("export", "long.zip").exit_code == 0
    there = elsewhere("other")
    assert "3 runs imported" in call("import", str(home / "long.zip")).stdout
    name = client.get_run(runs[0]).info.run_name
    (new,) = [r for r in tracking.counted_runs(there) if r.info.run_name == name]
    arrived = there.get_metric_history(new.info.run_id, "train_loss")
    assert {p.step for p in arrived} >= set(steps)
    assert new.data.params == client.get_run(runs[0]).data.params


def test_a_store_that_is_thrown_away_does_not_wait_for_the_disk(home: Path) -> None:
    def synchronous() -> int:
        with sqlalchemy.create_engine("sqlite:///kept.db").connect() as connection:
            return connection.exec_driver_sql("PRAGMA synchronous").scalar_one()

    kept = synchronous()
    assert kept > 0
    with tracking.unsynchronised():
        assert synchronous() == 0
    assert synchronous() == kept


def test_imported_runs_are_under_one_parent_a_study(
    exported: Path, elsewhere: Callable[[str], MlflowClient]
) -> None:
    there = elsewhere("other")
    call("import", str(exported), "--experiment", "of the lab")
    runs = tracking.counted_runs(there)
    parents = {run.data.tags["mlflow.parentRunId"] for run in runs}
    names = {there.get_run(parent).info.run_name for parent in parents}
    assert names == {"resnet_grid (imported)", "other (imported)"}
    experiment = there.get_experiment_by_name("of the lab")
    assert {run.info.experiment_id for run in runs} == {experiment.experiment_id}
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"


def test_nothing_is_overwritten(exported: Path, elsewhere: Callable[[str], MlflowClient]) -> None:
    there = elsewhere("other")
    own = tracked_runs.write(0, wrong=20)
    done = json.loads(call("import", str(exported), "--json").stdout)
    assert (done["runs"], done["imported"], done["present"]) == (3, 2, 1)
    (kept,) = [
        run
        for run in tracking.counted_runs(there)
        if tracking.fingerprint(run) == tracked_runs.spec(0).fingerprint
    ]
    assert kept.info.run_id == own
    assert kept.data.metrics[keys.TEST_ACCURACY] == 0.5


@pytest.mark.slow
def test_report_on_files_leaves_the_store_alone(
    exported: Path, home: Path, elsewhere: Callable[[str], MlflowClient]
) -> None:
    client = elsewhere("other")
    with tracked_runs.grid("mine") as grid:
        mine = grid.write(7)
    before = rows(Path("mlflow.db"))
    shutil.copy(exported, home / "recorded.zip")
    shown = call("summarize", "--from", str(home), "--format", "json", "--json")
    assert shown.exit_code == 0, shown.output
    cells = {row["study"]: row["finished"] for row in json.loads(shown.stdout)["studies"]}
    assert cells["resnet_grid"] == 2
    assert cells.keys().isdisjoint(("other", "mine"))
    assert rows(Path("mlflow.db")) == before
    assert sorted(path.name for path in Path().iterdir()) == ["mlflow.db", "mlruns", "report"]
    assert tracking.counted_runs(client)[0].info.run_id == mine
    assert "mine" in call("summarize", "--format", "json").output


def test_report_on_what_is_no_export_is_refused(exported: Path, home: Path) -> None:
    (home / "empty").mkdir()
    assert "has no exports" in refused(call("summarize", "--from", "empty"))
    cut = home / "cut.zip"
    cut.write_bytes(exported.read_bytes()[:-100])
    assert "cut.zip" in refused(call("summarize", "--from", str(cut)))
    both = call("summarize", "--from", str(exported), "--experiment", "x")
    assert "mutually exclusive" in refused(both)
    assert "--into" in refused(call("summarize", "--from", str(exported), "--pictures", "x"))
    assert not Path("report").exists()


def test_two_machines_are_merged(
    exported: Path, home: Path, elsewhere: Callable[[str], MlflowClient]
) -> None:
    elsewhere("other")
    tracked_runs.write(7)
    call("export", "own.zip")
    call("import", str(exported))
    assert "4 runs" in call("export", "both.zip").stdout
    elsewhere("third")
    call("import", str(home / "other" / "own.zip"))
    call("import", str(exported))
    call("export", "both.zip")
    assert Path("both.zip").read_bytes() == (home / "other" / "both.zip").read_bytes()


def double(client: MlflowClient, run_id: str, accuracy: float, ended: int) -> str:
    """Another finished run of the same cell, as stores of other origin may have; its run id."""
    old = client.get_run(run_id)
    tags = {k: v for k, v in old.data.tags.items() if k != "mlflow.runName"}
    name, experiment_id = old.info.run_name, old.info.experiment_id
    new = client.create_run(experiment_id, old.info.start_time, tags, name).info.run_id
    for param, value in old.data.params.items():
        client.log_param(new, param, value)
    client.log_metric(new, keys.TEST_ACCURACY, accuracy)
    client.set_terminated(new, "FINISHED", old.info.end_time + ended)
    return new


def test_only_the_run_that_the_report_uses_is_exported(
    runs: list[str], client: MlflowClient, home: Path
) -> None:
    later = double(client, runs[0], accuracy=0.5, ended=10)
    double(client, runs[0], accuracy=0.6, ended=5)
    double(client, runs[0], accuracy=float("nan"), ended=20)
    with tracked_runs.grid() as grid:
        grid.open(9).fail("no memory", "Traceback")
        grid.open(10)
    counted = set(tracked_runs.counted(client).values())
    assert counted == {later, *runs[1:]}

    selection = select(tracking.cell_runs(client), lambda _: [], {}, "custom-60-40")
    assert {cell.run_id for cell in selection.cells if cell.finished} == counted


def test_interrupted_import_goes_on(
    exported: Path,
    elsewhere: Callable[[str], MlflowClient],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = elsewhere("other")
    steps = ["log_batch", "log_inputs", "log_artifact", "set_terminated"]
    for step in steps:
        with monkeypatch.context() as interrupted:
            real = getattr(CheckedClient, step)

            def stop(
                self: MlflowClient, run_id: str, *given: object, real=real, **named: object
            ) -> None:
                if keys.IMPORTED in self.get_run(run_id).data.tags:
                    raise KeyboardInterrupt
                real(self, run_id, *given, **named)

            interrupted.setattr(CheckedClient, step, stop)
            assert call("import", str(exported)).exit_code == 130
        assert tracking.cell_runs(there).empty
    assert "3 runs imported" in call("import", str(exported)).stdout
    assert len(tracking.cell_runs(there)) == 3
    call("export", "second.zip")
    assert Path("second.zip").read_bytes() == exported.read_bytes()


@pytest.mark.slow
def test_killed_import_goes_on(exported: Path, elsewhere: Callable[[str], MlflowClient]) -> None:
    there = elsewhere("other")
    code = (
        "import os\n"
        "from mnist_ops.tracking.client import CheckedClient\n"
        "CheckedClient.log_artifact = lambda *_: os.kill(os.getpid(), 9)\n"
        "from mnist_ops.cli import main\n"
        f"main(['import', {str(exported)!r}])\n"
    )
    assert subprocess.run([sys.executable, "-c", code], env=os.environ).returncode == -9
    assert tracking.cell_runs(there).empty
    assert len(importing.unfinished_imports(there)) == 1
    assert "3 runs imported" in call("import", str(exported)).stdout
    call("export", "second.zip")
    assert Path("second.zip").read_bytes() == exported.read_bytes()


@pytest.mark.slow
def test_two_imports_at_once_leave_each_run_once(
    exported: Path, elsewhere: Callable[[str], MlflowClient]
) -> None:
    there = elsewhere("other")
    command = [sys.executable, "-m", "mnist_ops", "import", str(exported)]
    both = [subprocess.Popen(command, env=os.environ) for _ in range(2)]
    assert [process.wait(120) for process in both] == [0, 0]
    found = tracking.cell_runs(there)
    assert len(found) == found["fingerprint"].nunique() == 3


def test_existing_file_of_another_kind_is_kept(runs: list[str], home: Path) -> None:
    before = rows(home / "mlflow.db")
    assert "is not an export" in refused(call("export", "mlflow.db"))
    assert rows(home / "mlflow.db") == before
    assert call("export", "a.zip").exit_code == 0
    assert call("export", "a.zip").exit_code == 0
    assert "cannot write" in refused(call("export", "no/such/folder.zip"), code=1)


def test_nothing_to_export(home: Path, client: MlflowClient) -> None:
    assert "no finished runs" in refused(call("export", "a.zip"), code=1)
    assert not Path("a.zip").exists()
    assert "no experiment 'x'" in refused(call("export", "a.zip", "--experiment", "x"))


def test_run_without_predictions_travels_without(
    client: MlflowClient, home: Path, elsewhere: Callable[[str], MlflowClient]
) -> None:
    run_id = tracked_runs.write(1)
    (path,) = home.glob(f"mlruns/*/{run_id}/artifacts/{keys.PREDICTIONS}")
    path.write_bytes(b"not an archive")
    done = call("export", "a.zip", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["without_predictions"] == 1
    assert "cannot be read: resnet18" in done.stderr
    assert run_id[:8] in done.stderr
    there = elsewhere("other")
    call("import", str(home / "a.zip"))
    (run,) = tracking.counted_runs(there)
    assert tracking.predictions(there, run.info.run_id) is None
    call("export", "b.zip")
    assert Path("b.zip").read_bytes() == (home / "a.zip").read_bytes()


def test_values_that_json_or_a_database_cannot_hold(
    client: MlflowClient, home: Path, elsewhere: Callable[[str], MlflowClient]
) -> None:
    run_id = tracked_runs.write(1)
    client.log_metric(run_id, "diverged", float("nan"), timestamp=5, step=1)
    client.log_metric(run_id, "diverged", float("inf"), timestamp=5, step=2)
    client.log_metric(run_id, "diverged", 0.1 + 0.2, timestamp=5, step=3)
    client.set_tag(run_id, "note", "a\x1b[31mred\x00 \u202eline\nnext")
    call("export", "a.zip")
    there = elsewhere("other")
    call("import", str(home / "a.zip"))
    (run,) = tracking.counted_runs(there)
    values = [p.value for p in there.get_metric_history(run.info.run_id, "diverged")]
    assert np.isnan(values[0])
    assert values[1:] == [sys.float_info.max, 0.1 + 0.2]
    assert run.data.tags["note"] == "a\ufffd[31mred\ufffd \ufffdline\nnext"
    call("export", "b.zip")
    assert Path("b.zip").read_bytes() == (home / "a.zip").read_bytes()


def test_what_is_of_the_store_or_secret_stays_behind(client: MlflowClient, home: Path) -> None:
    run_id = tracked_runs.write(1)
    client.set_tag(run_id, "store", "postgresql://me:hunter2@host/db?sslpassword=hunter2")
    client.set_tag(run_id, "mlflow.source.git.repoURL", "https://hunter2@example.org/x.git")
    call("export", "a.zip")
    content = Path("a.zip").read_bytes()
    assert b"hunter2" not in content
    assert b"postgresql://me:***@host/db?sslpassword=***" in content
    for text in (run_id, str(home), "repoURL", "parentRunId"):
        assert text.encode() not in content


def test_a_tag_that_is_html_is_text_in_the_report(
    client: MlflowClient, home: Path, elsewhere: Callable[[str], MlflowClient]
) -> None:
    run_id = tracked_runs.write(1)
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    client.update_run(run_id, name=evil)
    for tag in (keys.GIT_COMMIT, f"{keys.HARDWARE}.cpu", f"{keys.VERSION}.torch"):
        client.set_tag(run_id, tag, evil)
    call("export", "a.zip")
    elsewhere("other")
    call("import", str(home / "a.zip"))
    done = call("summarize", "--preset", "custom-60-40", "--format", "html,json")
    assert done.exit_code == 0, done.output
    for path in Path("report").rglob("*.html"):
        assert "<script>alert(1)" not in path.read_text()
        assert "<img src=x" not in path.read_text()


def test_missing_file_is_used_wrongly(home: Path) -> None:
    result = call("import", "none.zip")
    assert result.exit_code == 2
    assert "does not exist" in result.stderr


def test_the_documented_format_is_the_format(exported: Path) -> None:
    """Read a file as docs/export-format.md describes it, without this package."""
    with zipfile.ZipFile(exported) as file:
        assert {member.compress_type for member in file.infolist()} == {zipfile.ZIP_STORED}
        manifest = json.loads(file.read("manifest.json"))
        lines = [json.loads(line) for line in file.read("runs.jsonl").splitlines()]
        (name,) = {line["test_set"] for line in lines}
        predicted, label, index = (
            np.load(io.BytesIO(file.read(f"test-sets/{name}/{part}.npy")))
            for part in ("predicted", "label", "index")
        )
        assert file.comment == b"sha256:" + sha256(exported.read_bytes()[:-71]).hexdigest().encode()
    assert (manifest["format"], manifest["version"]) == (exchange.FORMAT, exchange.VERSION)
    assert manifest["runs"] == len(lines) == 3
    assert predicted.shape == (3, tracked_runs.N_TEST)
    assert predicted.dtype == label.dtype == np.uint8
    assert index.dtype == np.int32
    for row, line in zip(predicted, lines, strict=True):
        accuracy = line["metrics"]["test_accuracy"][-1][2]
        assert (row == label).mean() == pytest.approx(accuracy)
    document = (Path(__file__).parents[2] / "docs" / "export-format.md").read_text()
    assert f"version {exchange.VERSION}" in document.lower()
    for field in RunRecord.model_fields:
        assert f"`{field}`" in document, field


def test_progress_tells_of_every_run(exported: Path, runs: list[str], home: Path) -> None:
    told: list[tuple[int, int]] = []
    exchange.export_runs(home / "b.zip", progress=lambda done, of: told.append((done, of)))
    assert told == [(1, 3), (2, 3), (3, 3)]
