"""Finished cells computed again: what a run logged can be checked by anybody."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import specs
import tracked_runs
from click.testing import CliRunner, Result
from mlflow import MlflowClient

from mnist_ops.cli import main
from mnist_ops.core import keys
from mnist_ops.serving.seed_noise import Noise, SeedNoise
from mnist_ops.serving.verify import AGREES, DIFFERS, UNKNOWN, WITHIN_NOISE, Agreement, agreement
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


def test_an_accuracy_may_differ_by_what_seeds_explain() -> None:
    labels = np.arange(1000, dtype=np.uint8) % 10
    index = np.arange(1000, dtype=np.int32)

    def logged(wrong: int) -> Predictions:
        predicted = labels.copy()
        predicted[:wrong] = (predicted[:wrong] + 1) % 10
        return Predictions(predicted, labels, index)

    def held_against(logged_before: Predictions) -> Agreement:
        return agreement(labels, labels, index, logged_before, lambda *_: Noise(0.02, "from seeds"))

    same, close, far = (held_against(logged(wrong)) for wrong in (0, 15, 25))
    assert (same.verdict, same.differing) == (AGREES, 0)
    assert (close.verdict, close.differing) == (WITHIN_NOISE, 15)
    assert close.text.startswith("within seed noise (1.50 points of 2.00, from seeds)")
    assert (far.verdict, far.differing) == (DIFFERS, 25)
    assert far.text.startswith("differs (2.50 points; seed noise is 2.00, from seeds)")
    other_images = agreement(labels, labels, index + 1, logged(0), lambda *_: Noise(1, ""))
    assert other_images.verdict == UNKNOWN


def test_seed_noise_is_of_the_family_or_of_the_test_images(client: MlflowClient) -> None:
    cell = specs.RESNET
    for changes, accuracies in (
        ({"batch_size": 32}, (0.97, 0.99)),
        # Of another learning rate: the same family.
        ({"learning_rate": 0.1}, (0.90, 0.94, 0.92)),
        # One seed alone, and another data set: they tell nothing of this one.
        ({"model": "resnet50"}, (0.5,)),
        ({"dataset": "FashionMNIST"}, (0.1, 0.9)),
    ):
        for seed, accuracy in enumerate(accuracies):
            spec = dataclasses.replace(cell, seed=seed, **changes)
            tags = {keys.SPEC: spec.canonical, keys.FINGERPRINT: spec.fingerprint}
            run = client.create_run("0", tags=tags)
            client.log_metric(run.info.run_id, keys.TEST_ACCURACY, accuracy)
    noise = SeedNoise(client.search_runs(["0"]))

    found = noise.between(cell, 0.98, 14_000)
    # Over seeds 0 and 1, which both have: variances 0.0002 and 0.0008 of one degree each. Student's
    # quantile of two degrees is 4.30.
    assert found.bound == pytest.approx(4.303 * math.sqrt(2 * 0.0005), rel=1e-3)
    assert found.basis == "from 4 seeds of 2 configurations like it"
    assert noise.between(cell, 0.98, 14_000, comparisons=100).bound > found.bound

    alone = noise.between(dataclasses.replace(cell, model="resnet50"), 0.98, 14_000)
    assert alone.bound == pytest.approx(1.96 * math.sqrt(2 * 0.98 * 0.02 / 14_000), rel=1e-3)
    assert alone.basis == "from the test images alone"
