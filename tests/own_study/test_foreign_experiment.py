"""Any MLflow experiment: runs that plain MLflow code logged get tables, intervals and a page."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from mnist_ops.cli import main

NAME = "sweep of mine"
WHICH = ["--experiment", NAME, "--metric", "val_acc", "--format", "html,json"]


@pytest.fixture
def experiment(client: MlflowClient) -> str:
    """300 runs: 60 configurations with 5 seeds each, some of which did not end well."""
    created = client.create_experiment(NAME)
    draw = np.random.default_rng(0)
    grid = itertools.product(
        ("0.1", "0.01", "0.001"), ("16", "32"), ("relu", "gelu"), range(1, 6), range(5)
    )
    for number, (rate, width, activation, depth, seed) in enumerate(grid):
        run = client.create_run(created)
        params = {"lr": rate, "width": width, "activation": activation, "depth": str(depth)}
        params |= {"seed": str(seed), "data": "mine"}
        value = 0.8 + 0.05 * (rate == "0.01") + 0.001 * depth + draw.normal(0, 0.004)
        metrics = [Metric("val_acc", value - 0.1, 1, 1), Metric("val_acc", value, 2, 2)]
        metrics += [Metric("loss", 1 - value, 2, 2)]
        client.log_batch(
            run.info.run_id,
            metrics=[] if number == 7 else metrics,
            params=[Param(*pair) for pair in params.items()],
        )
        client.set_terminated(run.info.run_id, "FAILED" if number == 8 else "FINISHED")
    return created


def summarize(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["summarize", *arguments], catch_exceptions=False)


@pytest.mark.slow
def test_it_is_reported(experiment: str, home: Path) -> None:
    before = (home / "mlflow.db").read_bytes()
    result = summarize(*WHICH)
    assert result.exit_code == 0, result.output
    assert f"{NAME}: 298 of 300 cells finished, 2 failed" in result.stdout
    assert "Matters most: lr" in result.stdout
    # Grouped by everything but the seed.
    table = pd.read_csv("report/tables/table-04.csv")
    assert len(table) == 60
    assert table["n"].sum() == 298
    assert (table["low"] < table["score"]).all()
    best = table.sort_values("score").iloc[-1]
    assert best["lr"] == 0.01
    effects = pd.read_csv("report/tables/table-03.csv")
    (rate,) = effects[(effects["axis"] == "lr") & (effects["value"] == "0.01")].to_dict("records")
    assert rate["low"] < 0.05 < rate["high"]
    names = {path.stem for path in Path("report/figures").glob("*.json")}
    others = {"heat-map", "parallel-coordinates", "learning-curves"}
    assert names == {"variance-shares", "main-effects", *others}
    assert "the run has no metric val_acc" in Path("report/index.html").read_text()
    # It is read, and nothing else.
    assert (home / "mlflow.db").read_bytes() == before


@pytest.mark.slow
def test_less_may_be_better(experiment: str) -> None:
    which = ["--experiment", NAME, "--metric", "loss", "--lowest", "--format", "json"]
    assert summarize(*which).exit_code == 0
    best = pd.read_csv("report/tables/table-02.csv")
    assert "lr 0.01" in best["configuration"][0]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--experiment", NAME, "--metric", "acc"], "no run has a metric 'acc'; their metrics: "),
        ([*WHICH, "--seed-param", "fold"], "no run has a param 'fold'; their params: activation"),
        (["--experiment", "none", "--metric", "acc"], "has no experiment 'none'"),
        (["--metric", "acc"], "--metric takes --experiment"),
        (["--lowest"], "--seed-param and --lowest need --metric"),
    ],
)
def test_what_is_not_there_is_one_line(
    client: MlflowClient, home: Path, arguments: list[str], told: str
) -> None:
    run = client.create_run(client.create_experiment(NAME))
    client.log_metric(run.info.run_id, "val_acc", 0.5)
    client.log_param(run.info.run_id, "activation", "relu")
    client.set_terminated(run.info.run_id)
    result = summarize(*arguments)
    assert result.exit_code == 2
    assert told in result.stderr
    assert not (home / "report").exists()
