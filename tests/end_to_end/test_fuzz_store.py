"""A store that anyone has written to, by the hundreds: the bad run is named, the others count.

Several runs of a healthy store are changed at a time, by SQL, since MLflow would refuse much of
it. What each case changes follows from the seed and its number alone. ``MNIST_OPS_FUZZ=1000``
sets how many changes are made.
"""

import json
import os
import random
import shutil
import sqlite3
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest
import services
import tracked_runs
from click.testing import CliRunner, Result
from compare_runs import all_tables, select
from mlflow import MlflowClient
from mlflow.utils.file_utils import local_file_uri_to_path
from mutations import STRANGE, mutated

from mnist_ops import tracking
from mnist_ops.cli import main
from mnist_ops.core import keys
from mnist_ops.serving.champions.best_run import best
from mnist_ops.study import lookup

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

SEED = 20_261_126
CHANGES = int(os.environ.get("MNIST_OPS_FUZZ", "60"))
RUNS = 12
AT_ONCE = 4
# A server is asked the same more slowly: of so many stores one is behind it.
A_SERVER = 10
# The whole report takes seconds: of so many stores one is told in full.
A_REPORT = 25
VALUES: list[object] = [
    *(text for text in STRANGE if "\udcff" not in text),
    *(
        "a\x00b",
        b"\xff\xfe",
        "abc",
        "A" * 9000,
        '{"a": 1}',
        "[" * 5000,
        "1e99",
        "99999999999999999",
    ),
    *(None, -1, 0, 7, 1e99, 9e999, -9e999, 1.7976931348623157e308, 99999999999999999, -(2**63)),
]
COLUMNS = ("status", "start_time", "end_time", "name", "artifact_uri", "user_id", "source_name")
IDENTITY = ("fingerprint", "status", "study", "run_id", "preset", "name", "start_time", "error")


@dataclass(frozen=True)
class Healthy:
    """A store whose runs are all good, to be copied."""

    database: Path
    # Run id -> fingerprint, and the file of its predictions.
    cells: dict[str, str]
    predictions: dict[str, Path]


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Healthy:
    folder = tmp_path_factory.mktemp("healthy")
    shutil.copy(empty_store, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MNIST_OPS_STATE", str(folder / "state"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(folder)
        with tracked_runs.grid() as grid:
            for number in range(RUNS):
                grid.write(number, wrong=number)
            grid.run.note({keys.NOT_MEASURED: json.dumps({"a" * 16: "no device"})})
        client = tracking.connect(tracking.default_uri())
        runs = tracking.counted_runs(client)
    cells = {run.info.run_id: tracking.fingerprint(run) for run in runs}
    files = {
        run.info.run_id: Path(local_file_uri_to_path(run.info.artifact_uri)) / keys.PREDICTIONS
        for run in runs
    }
    return Healthy(folder / "mlflow.db", cells, files)


def change(database: sqlite3.Connection, run_id: str, store: Healthy, chance: random.Random) -> str:
    """Change one thing of a run; which kind it is."""
    value = chance.choice(VALUES)
    others = sorted(store.cells.keys() - {run_id})
    kinds = ["tag", "param", "metric", "info", "artifact", "claim", "identity", "gone"]
    match kind := chance.choice(kinds):
        case "tag":
            rows = database.execute("SELECT key FROM tags WHERE run_uuid = ?", [run_id])
            key = chance.choice(sorted(key for (key,) in rows))
            database.execute(
                "UPDATE tags SET value = ? WHERE run_uuid = ? AND key = ?", [value, run_id, key]
            )
        case "param":
            rows = database.execute("SELECT key FROM params WHERE run_uuid = ?", [run_id])
            key = chance.choice(sorted(key for (key,) in rows))
            kept = "" if value is None else value
            database.execute(
                "UPDATE params SET value = ? WHERE run_uuid = ? AND key = ?", [kept, run_id, key]
            )
        case "metric":
            rows = database.execute("SELECT key FROM latest_metrics WHERE run_uuid = ?", [run_id])
            key = chance.choice(sorted(key for (key,) in rows))
            column = chance.choice(["value", "value", "value", "is_nan", "step", "timestamp"])
            for table in ("latest_metrics", "metrics"):
                database.execute(
                    f"UPDATE OR IGNORE {table} SET {column} = ? WHERE run_uuid = ? AND key = ?",
                    ["" if value is None else value, run_id, key],
                )
        case "info":
            column = chance.choice(COLUMNS)
            database.execute(f"UPDATE runs SET {column} = ? WHERE run_uuid = ?", [value, run_id])
        case "artifact":
            path = store.predictions[run_id]
            path.write_bytes(mutated(path.read_bytes(), chance))
        case "claim":
            database.execute(
                "UPDATE tags SET value = ? WHERE run_uuid = ? AND key = ?",
                [store.cells[chance.choice(others)], run_id, keys.FINGERPRINT],
            )
        case "identity":
            name, cell = chance.choice(IDENTITY), store.cells[chance.choice(others)]
            if chance.random() < 0.5:
                database.execute("INSERT INTO params VALUES (?, ?, ?)", [name, cell, run_id])
            else:
                database.execute(
                    "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) "
                    "VALUES (?, 1, 1, 0, 0, ?)",
                    [name, run_id],
                )
        case "gone":
            table = chance.choice(["tags", "params", "latest_metrics"])
            database.execute(f"DELETE FROM {table} WHERE run_uuid = ?", [run_id])
    return kind


def digest(path: Path) -> str:
    """Of all that a database holds."""
    with closing(sqlite3.connect(path)) as database:
        database.text_factory = bytes
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")
        rows = [
            (name, database.execute(f'SELECT * FROM "{name.decode()}"').fetchall())
            for (name,) in tables.fetchall()
        ]
    return sha256(repr(rows).encode()).hexdigest()


def call(*arguments: str, codes: tuple[int, ...] = (0,)) -> Result:
    result = CliRunner().invoke(main, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code in codes, result.output
    assert "Traceback" not in result.output
    return result


def check(uri: str, path: Path, store: Healthy, changed: set[str], *, report: bool) -> None:
    """Every command that reads names each changed run that it leaves out, and has all others."""
    client = MlflowClient(uri)
    before = digest(path)
    lines: list[str] = []
    frame = tracking.cell_runs(client, lines.append)
    ours = store.cells.keys() - changed
    assert ours <= set(frame["run_id"])
    for row in frame.to_dict("records"):
        # No run stands for another one's cell.
        assert store.cells[row["run_id"]] == row["fingerprint"]
    with closing(sqlite3.connect(path)) as database:
        database.text_factory = bytes
        claims = database.execute(
            "SELECT run_uuid FROM tags WHERE key = ? AND value IS NOT NULL", [keys.FINGERPRINT]
        )
        claiming = {run_id.decode() for (run_id,) in claims.fetchall()}
    for run_id in (changed & claiming) - set(frame["run_id"]):
        assert sum(run_id[:8] in line for line in lines) == 1, (run_id, lines)
    assert all("\n" not in line and len(line) < 400 for line in lines), lines
    counted = {run.info.run_id for run in tracking.counted_runs(client)}
    assert ours <= counted
    assert ours <= set(tracking.finished(client, "resnet_grid").values())
    tracking.not_measured(client)
    selection = select(frame, lambda preset: [], {}, "custom-60-40")
    assert {cell.run_id for cell in selection.cells if cell.finished} >= ours
    all_tables(selection)
    candidates = tracking.cell_runs(client, known_spec=True)
    for method in lookup.known("methods"):
        best(candidates, "MNIST", method)
    (grid,) = json.loads(call("status", "--json").stdout)
    assert len(ours) <= grid["done"] <= grid["cells"]
    assert grid["running"] + grid["failed"] + grid["left"] + grid["done"] <= grid["cells"]
    call("doctor", "--json", codes=(0, 1))
    export = call("export", "out.zip", "--json", codes=(0, 1))
    assert export.stdout, export.output
    exported = json.loads(export.stdout)
    assert export.exit_code == bool(exported["lost_predictions"])
    assert len(ours) <= exported["runs"] <= RUNS
    if report:
        told = call("summarize", "--format", "json", "--preset", "custom-60-40", "--json")
        assert json.loads(told.stdout)["cells"]["finished"] >= len(ours)
    assert digest(path) == before


@pytest.fixture
def server(tmp_path: Path, healthy: Healthy) -> Iterator[tuple[str, Path]]:
    folder = tmp_path / "server"
    folder.mkdir()
    path = folder / "mlflow.db"
    shutil.copy(healthy.database, path)
    store = {"MLFLOW_BACKEND_STORE_URI": f"sqlite:///{path}"}
    with services.mnist_ops_server(environment=store, folder=folder) as uri:
        yield uri, path


def test_store(
    healthy: Healthy,
    home: Path,
    server: tuple[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    good = {path: path.read_bytes() for path in healthy.predictions.values()}
    kinds: Counter[str] = Counter()
    failures: list[str] = []

    def case(number: int, path: Path, uri: str) -> None:
        chance = random.Random(f"{SEED} {number}")
        # By fingerprint: the ids are others each time.
        order = sorted(healthy.cells, key=lambda run_id: healthy.cells[run_id])
        chosen = chance.sample(order, AT_ONCE)
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA ignore_check_constraints = 1")
            with database:
                for run_id in chosen:
                    try:
                        kinds[change(database, run_id, healthy, chance)] += 1
                    except sqlite3.IntegrityError:
                        kinds["refused by the database"] += 1
        try:
            check(uri, path, healthy, set(chosen), report=number % A_REPORT == 0)
        finally:
            for file, content in good.items():
                file.write_bytes(content)

    for number in range(-(-CHANGES // AT_ONCE)):
        if number % A_SERVER == A_SERVER - 1:
            uri, path = server
            monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
            with (
                closing(sqlite3.connect(healthy.database)) as source,
                closing(sqlite3.connect(path)) as target,
            ):
                source.backup(target)
        else:
            # Another place each: MLflow keeps connections to the database that was at a path.
            path = home / str(number) / "mlflow.db"
            path.parent.mkdir()
            shutil.copy(healthy.database, path)
            uri = f"sqlite:///{path}"
            monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        try:
            case(number, path, uri)
        except Exception:
            failures.append(f"store {number}: {traceback.format_exc(limit=-8)}")
        if path.parent.parent == home and path.parent.name == str(number):
            shutil.rmtree(path.parent)
    with capsys.disabled():
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        print(f"\n{kinds.total()} changes in {number + 1} stores: {counts}")
    assert not failures, f"seed {SEED}: " + "\n".join(failures)
