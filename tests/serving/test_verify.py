"""Finished cells computed again: what a run logged can be checked by anybody."""

import json
from pathlib import Path

import numpy as np
import pytest
import tracked_runs
from click.testing import CliRunner, Result

from mnist_ops.cli import main
from mnist_ops.core import keys
from mnist_ops.serving.verify import agreement
from mnist_ops.study.results import Predictions

SIZES = ["--workers", "0", "--device", "cpu", "--train-limit", "100", "--test-limit", "100"]
MACHINES = ["svm_grid", "--datasets", "MNIST", "--set", "kernel=rbf", "--set", "gamma=auto"]
NETWORK = ["resnet_grid", "--datasets", "MNIST", "--set", "model=resnet18", "--set", "epochs=1,2"]
NETWORK += ["--set", "batch_size=16", "--set", "optimizer=Adam", "--set", "learning_rate=0.001"]
NETWORK += ["--set", "pin_memory=false"]


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), catch_exceptions=False)


@pytest.fixture
def runs(small_data: Path) -> Path:
    for cells in (MACHINES, NETWORK):
        assert call("run", *cells, *SIZES).exit_code == 0
    return small_data


def test_every_cell_gives_what_it_logged(runs: Path) -> None:
    answer = call("verify", "--json")
    assert answer.exit_code == 0, answer.output
    repeats = json.loads(answer.stdout)
    # Three SVMs that were fitted together, and two networks that were one training.
    assert len(repeats) == 5
    for found in repeats:
        assert found["agreement"]["differing"] == 0
        assert found["repeated"] == found["logged"]
    assert answer.stderr.splitlines()[5:] == ["5 of 5 cells agree"]


def test_cells_of_a_file_by_name_or_by_chance(runs: Path, home: Path) -> None:
    assert call("export", "runs.zip").exit_code == 0
    (home / "mlflow.db").unlink()
    one = "svm-mnist-rbf-c10-gauto-s0"
    named = call("verify", one, "--from", "runs.zip")
    assert named.exit_code == 0, named.output
    (line, _) = named.stdout.splitlines()
    assert line.startswith(f"{one} (svm_grid): logged ")
    assert "what was logged for all 100 test images" in line
    drawn = [call("verify", "--from", "runs.zip", "--sample", "1").stdout for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert len(drawn[0].splitlines()) == 2
    assert not (home / "mlflow.db").exists()


def test_a_run_that_is_not_what_it_says_fails(home: Path, small_data: Path) -> None:
    call("run", *MACHINES, "--set", "C=1", *SIZES)
    (path,) = home.glob(f"mlruns/**/{keys.PREDICTIONS}")
    logged = dict(np.load(path))
    logged["predicted"] = (logged["label"] + 1) % 10
    np.savez_compressed(path, **logged)
    answer = call("verify")
    assert answer.exit_code == 1
    assert answer.stderr.splitlines()[-1] == "mnist-ops: 1 cell of 1 not confirmed"


def test_runs_on_other_images_are_told_from_wrong_ones(home: Path, small_data: Path) -> None:
    tracked_runs.write(0)
    answer = call("verify")
    assert answer.exit_code == 1
    assert "was fitted to other images" in answer.stderr.splitlines()[-1]


def test_wrong_names_and_empty_stores_are_one_line(home: Path) -> None:
    nothing = call("verify")
    assert (nothing.exit_code, len(nothing.stderr.splitlines())) == (1, 1)
    tracked_runs.write(0)
    unknown = call("verify", "svm-mnist")
    assert (unknown.exit_code, len(unknown.stderr.splitlines())) == (2, 1)
    assert "svm-mnist" in unknown.stderr


def test_accuracies_may_differ_by_chance_and_not_by_more() -> None:
    labels = np.arange(1000, dtype=np.uint8) % 10
    index = np.arange(1000, dtype=np.int32)

    def logged(wrong: int) -> Predictions:
        predicted = labels.copy()
        predicted[:wrong] = (predicted[:wrong] + 1) % 10
        return Predictions(predicted, labels, index)

    close, far = (agreement(labels, labels, index, logged(wrong)) for wrong in (3, 100))
    assert (close.differing, close.beyond_chance) == (3, False)
    assert (far.differing, far.beyond_chance) == (100, True)
    assert agreement(labels, labels, index + 1, logged(0)).differing is None
