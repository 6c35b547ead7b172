"""Runs that nobody should have written: each is named in one line, and touches no other."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import tracked_runs
from click.testing import CliRunner, Result
from mlflow import MlflowClient

from mnist_ops import tracking
from mnist_ops.cli import main
from mnist_ops.core import keys

GOOD, BAD = tracked_runs.spec(0), tracked_runs.spec(1)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), catch_exceptions=False)


@pytest.fixture
def ids(home: Path) -> tuple[str, str]:
    """The runs of a good cell, and of one that is to be bad."""
    with tracked_runs.grid() as grid:
        return grid.write(0), grid.write(1)


def sql(statement: str, *values: object) -> None:
    with closing(sqlite3.connect("mlflow.db")) as database, database:
        database.execute("PRAGMA ignore_check_constraints = 1")
        database.execute(statement, values)


def bad_tag(run_id: str, key: str, value: object) -> None:
    sql("UPDATE tags SET value = ? WHERE run_uuid = ? AND key = ?", value, run_id, key)


def bad_param(run_id: str, key: str, value: str) -> None:
    sql("UPDATE params SET value = ? WHERE run_uuid = ? AND key = ?", value, run_id, key)


def bad_metric(run_id: str, key: str, value: float) -> None:
    sql("UPDATE latest_metrics SET value = ? WHERE run_uuid = ? AND key = ?", value, run_id, key)


def bad_column(run_id: str, key: str, value: object) -> None:
    sql(f"UPDATE runs SET {key} = ? WHERE run_uuid = ?", value, run_id)


@pytest.mark.parametrize(
    ("spoil", "key", "value", "told"),
    [
        (bad_param, keys.SEED, "abc", "its param seed is 'abc'"),
        (bad_param, keys.N_TEST, "1e99", "its param n_test is '1e99'"),
        (bad_param, keys.EPOCHS, "5", "its param epochs is '5', by its spec 2"),
        (bad_metric, keys.FLOPS, 1.7e308, "its metric flops is 1.7e+308"),
        (bad_metric, keys.TEST_ACCURACY, 7.0, "its metric test_accuracy is 7.0"),
        (bad_metric, keys.TEST_ACCURACY, 9e999, "its metric test_accuracy is inf"),
        (
            bad_column,
            "start_time",
            99999999999999999,
            "its start time is 99999999999999999, which is invalid",
        ),
        (bad_column, "end_time", None, "it is finished but has no end time"),
        (bad_column, "end_time", 5, "it ended more than a day before it began"),
        (bad_column, "status", "WEIRD", "its status is 'WEIRD'"),
        (bad_column, "start_time", None, "the store cannot read it"),
        (bad_column, "name", b"\xff", "its name is b'\\xff', not text"),
        (bad_tag, keys.FINGERPRINT, GOOD.fingerprint, "its fingerprint does not match its spec"),
        (bad_tag, keys.STUDY, "x\0y", "its study is 'x\\x00y'"),
        (bad_tag, keys.SPEC, "[1]", "this version cannot read its spec"),
        (bad_tag, keys.FIT_GROUP, "A" * 10**7, "has 10,000,000 characters"),
    ],
)
def test_bad_run_is_named_and_the_other_counts(
    ids: tuple[str, str], client: MlflowClient, spoil, key: str, value: object, told: str
) -> None:
    good, bad = ids
    spoil(bad, key, value)
    lines: list[str] = []
    assert list(tracking.cell_runs(client, lines.append)["run_id"]) == [good]
    (line,) = lines
    assert told in line
    assert bad[:8] in line
    assert line.endswith("; left out")
    assert tracking.finished(client, "resnet_grid") == {GOOD.fingerprint: good}
    assert tracking.finished_of(client, [GOOD.fingerprint, BAD.fingerprint]).keys() == {
        GOOD.fingerprint
    }
    exported = call("export", "out.zip")
    # One that is not FINISHED is none of those that are asked for.
    assert exported.exit_code == 0
    assert exported.stderr.splitlines() == ([] if key == "status" else lines)
    told_status = call("status", "--json")
    (grid,) = json.loads(told_status.stdout)
    assert grid["done"] <= grid["cells"]
    assert told_status.exit_code == 0


def test_params_and_metrics_decide_nothing_of_what_a_run_is(
    ids: tuple[str, str], client: MlflowClient
) -> None:
    before = tracking.cell_runs(client)
    _, other = ids
    for name in ("fingerprint", "study", "run_id", "name", "preset"):
        client.log_param(other, name, GOOD.fingerprint)
    for name in ("status", "error", "start_time", keys.DATASET, "experiment_id"):
        client.log_metric(other, name, 1.0)
    assert tracking.cell_runs(client).equals(before)


def test_a_grid_counts_its_own_cells(ids: tuple[str, str], client: MlflowClient) -> None:
    good, _ = ids
    grid = client.get_run(good).data.tags["mlflow.parentRunId"]
    client.set_tag(grid, keys.CELLS, "4")
    model = client.get_run(good)
    for number in range(10):
        tags = model.data.tags | {keys.FINGERPRINT: f"{number:016x}"}
        forged = client.create_run(model.info.experiment_id, tags=tags)
        client.log_metric(forged.info.run_id, keys.TEST_ACCURACY, 0.5)
        client.set_terminated(forged.info.run_id)
    told = call("status")
    assert "2 of 4 cells done" in told.stdout
    assert len(told.stderr.splitlines()) == 10
    client.set_tag(grid, keys.CELLS, "nan")
    told = call("status")
    assert "2 of 2 cells done" in told.stdout
    assert "its tag mnist_ops.cells is 'nan'" in told.stderr


@pytest.mark.parametrize("noted", ["nan", "[]", "{", '{"a": 1}', '{"a": ""}', "[" * 5000])
def test_odd_list_of_cells_that_could_not_run(client: MlflowClient, noted: str) -> None:
    for reasons in (noted, json.dumps({"b": "no device"})):
        client.create_run("0", tags={keys.NOT_MEASURED: reasons}, run_name="a grid")
    lines: list[str] = []
    assert tracking.not_measured(client, lines.append) == {"b": "no device"}
    (line,) = lines
    assert line.startswith("run a grid (")
    assert "not a list of reasons" in line


def test_many_bad_runs_get_a_few_lines(client: MlflowClient) -> None:
    with tracked_runs.grid() as grid:
        good, *bad = (grid.write(number) for number in range(26))
    for run_id in bad:
        bad_param(run_id, keys.SEED, "abc")
    every: list[str] = []
    assert list(tracking.cell_runs(client, every.append)["run_id"]) == [good]
    exported = call("export", "out.zip")
    summarized = call("summarize", "--format", "json")
    for lines in (exported.stderr.splitlines(), summarized.stderr.splitlines()):
        assert lines[:20] == every[:20]
        assert lines[20].startswith("more are left out")
        assert not any("abc" in line for line in lines[20:])
    page = Path("report/index.html").read_text()
    assert all(f"({run_id[:8]})" in page for run_id in bad)
