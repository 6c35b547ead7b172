"""The first seconds of a store: interrupted, begun by several at once, begun by MLflow itself."""

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import older_stores
import pytest
import services
from doctor_fixtures import Doctor
from faults import MNIST_OPS
from requirements import require

from mnist_ops import tracking
from mnist_ops.core.errors import TrackingUnavailable
from mnist_ops.ops.doctor.issue import Severity
from mnist_ops.tracking import creation
from mnist_ops.tracking.schema import Schema, schema_of

# Of the thousand and some that make a store: among the first tables, in and between migrations.
STATEMENTS = (3, 12, 40, 137, 400, 900, 1500)
# The process ends before its n-th statement, as one that is killed does.
MLFLOW_KILLED = """
import os, sys, sqlalchemy
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
left = int(sys.argv[2])
def count(*arguments):
    global left
    left -= 1
    if left == 0:
        os._exit(9)
sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", count)
SqlAlchemyStore(f"sqlite:///{sys.argv[1]}", "./mlruns")
"""

# The process is interrupted as it calls a function for the n-th time.
SIGNALLED = """
import os, signal, sys
from mnist_ops.__main__ import main
name, left = sys.argv.pop(1), int(sys.argv.pop(1))
def count(frame, event, _):
    global left
    if event == "call" and frame.f_code.co_name == name:
        left -= 1
        if left == 0:
            sys.setprofile(None)
            print("signalled", flush=True)
            os.kill(os.getpid(), signal.SIGINT)
sys.setprofile(count)
main()
"""

OURS_KILLED = MLFLOW_KILLED.replace(
    "from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore",
    "from mnist_ops.tracking import connect as SqlAlchemyStore",
).replace(', "./mlruns"', "")


def uri_of(path: Path) -> str:
    return f"sqlite:///{path}"


def mlflow_killed(path: Path, statements: int) -> None:
    """Have MLflow make a store at `path`, and end before its n-th statement."""
    script = [sys.executable, "-c", MLFLOW_KILLED, str(path), str(statements)]
    assert subprocess.run(script, stderr=subprocess.DEVNULL).returncode == 9
    long_ago = time.time() - 3600
    os.utime(path, (long_ago, long_ago))


def begun(path: Path, revision: str | None = None, tables: int | None = None) -> None:
    """A store of which only the first tables are there, or all up to a revision."""
    older_stores.make(uri_of(path), revision=revision, tables=tables)
    os.utime(path, (0, 0))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def kept(folder: Path) -> list[Path]:
    found = sorted(folder.glob("mlflow.db.half-made-*"))
    return [path for path in found if not path.name.endswith("-journal")]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("MNIST_OPS_STATE", str(tmp_path / "state"))
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.slow
def test_a_new_store_is_as_mlflows_own_and_leaves_nothing_beside_it(place: Path) -> None:
    client = tracking.connect(tracking.default_uri())
    assert names(place) == {"mlflow.db"}
    assert client.get_experiment("0").artifact_location == f"{place}/mlruns/0"
    with closing(sqlite3.connect(place / "mlflow.db")) as database:
        ours = database.execute("SELECT name FROM sqlite_master ORDER BY name").fetchall()
    script = MLFLOW_KILLED.replace("os._exit(9)", "pass")
    subprocess.run([sys.executable, "-c", script, "theirs.db", "0"], check=True, cwd=place)
    with closing(sqlite3.connect(place / "theirs.db")) as database:
        assert database.execute("SELECT name FROM sqlite_master ORDER BY name").fetchall() == ours


@pytest.mark.parametrize("tables", [1, 2, None])
def test_first_tables_alone_are_replaced(place: Path, tables: int | None) -> None:
    path = place / "mlflow.db"
    begun(path, tables=tables)
    before = path.read_bytes()
    with pytest.raises(TrackingUnavailable, match=r"no tracking store at .* was interrupted: run"):
        tracking.connect(uri_of(path), create=False)
    assert path.read_bytes() == before
    tracking.connect(uri_of(path))
    assert schema_of(uri_of(path)) is Schema.CURRENT
    assert [file.read_bytes() for file in kept(place)] == [before]


@pytest.mark.parametrize("revision", ["181f10493468", "7f2a7d5fae7d", "75868b020152"])
def test_some_migrations_alone_are_replaced(place: Path, revision: str) -> None:
    path = place / "mlflow.db"
    begun(path, revision)
    assert schema_of(uri_of(path)) is Schema.HALF_MADE
    tracking.connect(uri_of(path))
    assert schema_of(uri_of(path)) is Schema.CURRENT
    assert len(kept(place)) == 1


def test_an_empty_file_is_replaced(place: Path) -> None:
    (place / "mlflow.db").touch()
    os.utime(place / "mlflow.db", (0, 0))
    tracking.connect(tracking.default_uri())


def test_what_sqlite_keeps_beside_a_lost_file_is_not_applied_to_the_new_one(place: Path) -> None:
    (place / "mlflow.db-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + b"\xff" * 5000)
    tracking.connect(tracking.default_uri())
    assert schema_of(tracking.default_uri()) is Schema.CURRENT


def test_a_store_behind_a_link_is_made_where_the_link_points(place: Path) -> None:
    (place / "mlflow.db").symlink_to(place / "elsewhere" / "runs.db")
    tracking.connect(tracking.default_uri())
    assert names(place / "elsewhere") == {"runs.db"}
    assert (place / "mlflow.db").is_symlink()


def test_an_interrupted_migration_of_a_store_with_runs_is_never_replaced(place: Path) -> None:
    path = place / "mlflow.db"
    begun(path, "7f2a7d5fae7d")
    with closing(sqlite3.connect(path)) as database:
        database.execute("INSERT INTO runs (run_uuid, name) VALUES ('a', 'mine')")
        database.execute("CREATE TABLE _alembic_tmp_runs (run_uuid TEXT)")
        database.commit()
    before = path.read_bytes()
    for create in (True, False):
        with pytest.raises(TrackingUnavailable, match="with `mnist-ops doctor --fix`"):
            tracking.connect(uri_of(path), create=create)
    assert path.read_bytes() == before
    assert names(place) == {"mlflow.db"}


def test_a_registered_model_alone_keeps_a_store(place: Path) -> None:
    tracking.connect(tracking.default_uri()).create_registered_model("mine")
    with closing(sqlite3.connect(place / "mlflow.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = '7f2a7d5fae7d'")
        database.commit()
    assert schema_of(tracking.default_uri()) is Schema.OLDER


# Half made, and written for a while yet by the process that makes it.
SLOW_MAKER = """
import sys, time, sqlalchemy
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
done = 0
def slow(*arguments):
    global done
    done += 1
    if done == 100:
        print("begun", flush=True)
    if 100 <= done < 120:
        time.sleep(0.1)
sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", slow)
SqlAlchemyStore(f"sqlite:///{sys.argv[1]}", "./mlruns").create_experiment("theirs")
sys.stdin.read()
"""


@pytest.mark.slow
def test_a_store_that_mlflow_is_making_is_waited_for(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # That it is open elsewhere is enough to wait, whatever the clock or a pause makes of it.
    monkeypatch.setattr(creation, "QUIET_S", 0.0)
    path = place / "mlflow.db"
    command = [sys.executable, "-c", SLOW_MAKER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as maker:
        assert maker.stdout is not None
        maker.stdout.readline()
        client = tracking.connect(uri_of(path))
        maker.communicate()
    assert maker.returncode == 0
    assert client.get_experiment_by_name("theirs") is not None
    assert names(place) == {"mlflow.db"}


HOLDER = """
import sys
held = open(sys.argv[1])
print(flush=True)
sys.stdin.read()
"""


def test_a_maker_that_pauses_for_ever_is_named(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(creation, "QUIET_S", 0.0)
    monkeypatch.setattr(creation, "PATIENCE_S", 0.3)
    path = place / "mlflow.db"
    begun(path)
    holder = (
        "import sqlite3, sys; d = sqlite3.connect(sys.argv[1]); d.execute('SELECT 1 FROM runs')\n"
    )
    holder += "print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", holder, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(TrackingUnavailable, match=rf"begun by process {process.pid} "):
            tracking.connect(uri_of(path))
        process.communicate()
    assert kept(place) == []


@pytest.mark.slow
def test_a_full_disk_while_a_store_is_made_leaves_nothing(place: Path) -> None:
    limited = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000)); "
        "from mnist_ops.__main__ import main; main()"
    )
    start = [sys.executable, "-c", limited, "sync"]
    ended = subprocess.run(start, capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "cannot be created" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert names(place) <= {".mlflow.db.lock"}
    assert subprocess.run([*MNIST_OPS, "sync"]).returncode == 0
    assert names(place) == {"mlflow.db", "mlruns"} or names(place) == {"mlflow.db"}


@pytest.mark.slow
@pytest.mark.parametrize("statements", STATEMENTS)
def test_what_a_killed_mlflow_left_is_named_and_replaced(
    place: Path, statements: int, doctor: Doctor
) -> None:
    path = place / "mlflow.db"
    mlflow_killed(path, statements)
    assert schema_of(uri_of(path)) is Schema.HALF_MADE
    found = doctor.issues()
    assert found["store-half-made"].severity is Severity.PROBLEM
    assert "store-half-made" in doctor.fix()
    assert doctor.issues() == {}
    assert len(kept(place)) == 1


@pytest.mark.slow
def test_killed_at_any_moment_and_begun_by_three_at_once(place: Path) -> None:
    start, path = [*MNIST_OPS, "sync"], place / "mlflow.db"
    for statements in (1, 40, 900, 1660):
        script = [sys.executable, "-c", OURS_KILLED, str(path), str(statements)]
        assert subprocess.run(script, stderr=subprocess.DEVNULL).returncode == 9
        assert not path.exists()
    three = [subprocess.Popen(start, stderr=subprocess.PIPE) for _ in range(3)]
    assert [process.communicate()[1] for process in three] == [b""] * 3
    assert [process.returncode for process in three] == [0] * 3
    assert names(place) - {"mlruns"} == {"mlflow.db"}
    assert subprocess.run([*MNIST_OPS, "doctor"]).returncode == 0


@pytest.mark.slow
def test_an_empty_postgresql_is_begun_by_three_at_once_after_an_interruption(place: Path) -> None:
    require(not services.MISSING, services.MISSING)
    with services.postgres() as uri:
        older_stores.make(uri)
        start, environment = [*MNIST_OPS, "sync"], os.environ | {"MLFLOW_TRACKING_URI": uri}
        three = [subprocess.Popen(start, stderr=subprocess.PIPE, env=environment) for _ in range(3)]
        assert [process.communicate()[1] for process in three] == [b""] * 3
        assert schema_of(uri) is Schema.CURRENT


@pytest.mark.slow
@pytest.mark.parametrize(
    "function",
    [
        # A callback of a weak reference: Python discards what it raises.
        "_collection_gced",
        # SQLAlchemy logs what it raises.
        "do_rollback",
    ],
)
def test_an_interrupt_that_a_library_catches_ends_the_command(place: Path, function: str) -> None:
    grid = "svm_grid --datasets MNIST --set kernel=rbf --set C=1 --set gamma=scale --workers 0"
    run = ["run", *grid.split(), "--train-limit", "64", "--test-limit", "64"]
    start = [sys.executable, "-c", SIGNALLED, function, "3", *run]
    ended = subprocess.run(start, capture_output=True, text=True)
    assert ended.stdout.startswith("signalled"), ended.stderr
    assert ended.returncode == 130, ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stderr.endswith("run the same command to continue.\n")
    assert subprocess.run([*MNIST_OPS, *run]).returncode == 0
