"""A team's servers: PostgreSQL, S3 and sign-in."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import parallel_writers
import psutil
import pytest
import services
import sqlalchemy
import team_study
import tracked_runs
from click.testing import CliRunner, Result

from mnist_ops import tracking
from mnist_ops.cli import main
from mnist_ops.core import keys
from mnist_ops.core.errors import TrackingUnavailable
from mnist_ops.tracking.writing import show_as_models

pytestmark = pytest.mark.slow

WRITERS = 20
# Each cell of every table of the study comes from few images and few of its hyper-parameters.
SMALL = ["all", "--workers", "0", "--device", "cpu", "--train-limit", "60", "--test-limit", "40"]
SMALL += ["--set", "model=resnet18", "--set", "batch_size=32", "--set", "optimizer=Adam"]
SMALL += ["--set", "learning_rate=0.001", "--set", "epochs=2", "--set", "pin_memory=false"]


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), catch_exceptions=False)


def test_study_ends_as_on_sqlite(
    small_data: Path, home: Path, team: services.Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same seeds, the same tables; and its runs export to the same results."""
    ran = call("run", *SMALL)
    assert ran.exit_code == 0, ran.output
    for name, value in team.environment.items():
        monkeypatch.setenv(name, value)
    ran = call("run", *SMALL, "--experiment", "study")
    assert ran.exit_code == 0, ran.output
    of_study = ["--experiment", "study"]
    reported = call("summarize", "--out", "team", "--format", "json", *of_study)
    assert reported.exit_code == 0, reported.output
    assert call("export", "team.zip", *of_study).exit_code == 0
    for name in team.environment:
        monkeypatch.delenv(name)
    assert call("summarize", "--out", "sqlite", "--format", "json").exit_code == 0
    assert team_study.differences(home / "team", home / "sqlite") == []
    # All of them are here already: of each cell the run that was here counts.
    assert "0 runs imported" in call("import", "team.zip").stdout


def test_export_is_the_same_bytes_from_any_store(
    home: Path, team: services.Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite to PostgreSQL and S3, by way of the server with sign-in, and back."""
    with tracked_runs.grid("moved") as grid:
        for number in range(3):
            grid.write(number, wrong=number)
        grid.tracker.client.log_metric(grid.write(9), "diverged", float("nan"))
    assert call("export", "sqlite.zip").exit_code == 0
    with monkeypatch.context() as signed_in:
        for name, value in team.environment.items():
            signed_in.setenv(name, value)
        for expected in ("4 runs imported", "0 runs imported, 4 runs were here"):
            assert expected in call("import", "sqlite.zip", "--experiment", "moved").stdout
        assert call("export", "team.zip", "--experiment", "moved").exit_code == 0
    ours, theirs = (Path(name).read_bytes() for name in ("sqlite.zip", "team.zip"))
    assert ours == theirs


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"MLFLOW_TRACKING_PASSWORD": "wrong password"}, "denied the user or password"),
        ({"MLFLOW_TRACKING_USERNAME": "nobody"}, "denied the user or password"),
        ({"MLFLOW_TRACKING_USERNAME": "", "MLFLOW_TRACKING_PASSWORD": ""}, "needs a sign-in"),
        (
            {
                "MLFLOW_TRACKING_USERNAME": "",
                "MLFLOW_TRACKING_PASSWORD": "",
                "MLFLOW_TRACKING_TOKEN": "eyJhbGciOiJub25lIn0.eyJleHAiOjB9.",
            },
            "denied the token, which may have expired",
        ),
    ],
)
def test_who_may_not_come_in_gets_one_line(
    signed_in: services.Team,
    changed: dict[str, str],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    for command in (["summarize"], ["run", "svm_grid"], ["export", "a.zip"]):
        result = call(*command)
        assert result.exit_code == 1, result.output
        (line,) = result.stderr.splitlines()
        assert told in line
        for value in changed.values():
            assert not value or value == "nobody" or value not in result.output


def test_password_in_the_uri_works_and_is_not_shown(team: services.Team) -> None:
    with_password = team.uri.replace("://", f"://{team.user}:{team.password}@")
    tracking.connect(with_password)
    with pytest.raises(TrackingUnavailable) as caught:
        tracking.connect(with_password.replace(team.password, "wrong-password"))
    assert "wrong-password" not in str(caught.value)


def test_wrong_password_of_the_database_is_one_line(team: services.Team) -> None:
    wrong = team.database.replace("mlflow:", "mlflow:wrong", 1)
    with pytest.raises(TrackingUnavailable, match="password authentication failed") as caught:
        tracking.connect(wrong)
    assert "\n" not in str(caught.value)
    assert ":wrong" not in str(caught.value)


def test_parallel_writers_lose_and_double_nothing(
    signed_in: services.Team, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = 5
    rate = parallel_writers.write(signed_in.uri, WRITERS, runs)
    with capsys.disabled():
        print(f"\n{WRITERS} writers, {WRITERS * runs} runs: {rate:.1f} runs/s")
    parallel_writers.check(signed_in.uri, WRITERS * runs)


def test_grids_that_start_at_once_in_a_new_experiment(team: services.Team) -> None:
    client = tracking.connect(team.database)
    for number in range(5):
        experiment_id = tracking.experiment(client, f"at once {number}")
        together = threading.Barrier(WRITERS)

        def show(experiment_id: str = experiment_id, together: Any = together) -> None:
            together.wait(60)
            show_as_models(client, experiment_id)

        with ThreadPoolExecutor(WRITERS) as writers:
            for done in [writers.submit(show) for _ in range(WRITERS)]:
                done.result()
        assert "mlflow.experimentKind" in client.get_experiment(experiment_id).tags


def test_no_secret_is_stored_shown_or_exported(
    signed_in: services.Team, home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither password is where somebody else could read it."""
    client = tracking.connect(signed_in.uri)
    run_id = tracked_runs.write(0, "secret")
    assert client.get_run(run_id).data.tags[keys.STUDY] == "secret"
    assert call("export", "a.zip").exit_code == 0
    database_password = sqlalchemy.make_url(signed_in.database).password
    secrets = [
        signed_in.password,
        str(database_password),
        services.ACCESS_KEY["AWS_SECRET_ACCESS_KEY"],
    ]
    read = {
        "log": (signed_in.folder / "server.log").read_text(),
        "export": Path("a.zip").read_bytes().decode("latin1"),
        "output": "".join(capfd.readouterr()),
        "database": _all_text(signed_in.database),
        "command lines": "\n".join(
            " ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"])
        ),
    }
    assert run_id in read["database"]
    for where, text in read.items():
        for secret in secrets:
            assert secret not in text, where


def _all_text(database: str) -> str:
    """Every row of every table."""
    engine = sqlalchemy.create_engine(database)
    tables = sqlalchemy.inspect(engine).get_table_names()
    assert {"runs", "tags", "params", "users"} <= set(tables)
    with engine.connect() as connection:
        texts = [
            str(connection.execute(sqlalchemy.text(f'SELECT * FROM "{table}"')).fetchall())
            for table in tables
        ]
    engine.dispose()
    return "\n".join(texts)
