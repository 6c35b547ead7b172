"""A grid that is disturbed at random ends as one that never was."""

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from faults import MNIST_OPS, Grid, Server, truncate_one
from mlflow import MlflowClient

from mnist_ops import tracking
from mnist_ops.core import keys

ROUNDS = int(os.environ.get("MNIST_OPS_SOAK_ROUNDS", "40"))
SEED = int(os.environ.get("MNIST_OPS_SOAK_SEED", "0"))
# Ten cells a seed, of two trainings and one unit of support vector machines each.
GRID = ["all", "--device", "cpu", "--train-limit", "192", "--test-limit", "100"]
GRID += ["--datasets", "MNIST", "--set", "model=resnet18", "--set", "batch_size=16"]
GRID += ["--set", "learning_rate=0.001", "--set", "pin_memory=false", "--set", "kernel=rbf"]
GRID += ["--set", "C=1,10", "--set", "gamma=scale", "--checkpoint-every", "0.5"]
SAME = [keys.TEST_ACCURACY, keys.TEST_F1, keys.VAL_ACCURACY, keys.TRAIN_LOSS]
FAULTS = [
    "SIGKILL of the driver",
    "SIGKILL of a worker",
    "SIGKILL of the tree",
    "SIGTERM",
    "Ctrl-C",
    "Ctrl-C twice",
    "server stopped and started",
    "checkpoint truncated",
    "disk quota reached",
]


class Store:
    """A store that grids are started on, and how far they have come."""

    def __init__(self, uri: str, state: Path, server: Server | None):
        self.uri = uri
        self.state = state
        self.server = server
        self.seeds = 1

    def grid(self, folder: Path, number: int, workers: int, **limits: Any) -> Grid:
        os.environ["MLFLOW_TRACKING_URI"] = self.uri
        os.environ["MNIST_OPS_STATE"] = str(self.state)
        seeds = ",".join(map(str, range(self.seeds)))
        arguments = [*GRID, "--seeds", seeds, "--workers", str(workers)]
        return Grid(*arguments, log=folder / f"round-{number}.log", **limits)

    def checkpoints(self) -> list[Path]:
        return list(self.state.glob("*/checkpoints/*.checkpoint"))


@pytest.fixture
def stores(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Store]]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    server = Server(home)
    try:
        yield [
            Store(f"sqlite:///{home}/mlflow.db", home / "state", None),
            Store(server.uri, home / "state of server", server),
        ]
    finally:
        server.stop()


def disturb(store: Store, fault: str, folder: Path, number: int, dice: random.Random) -> str:
    """Start the store's grid and do `fault` to it; what came of it."""
    limits = {"max_file_size": 2**20} if fault == "disk quota reached" else {}
    workers = 2 if fault == "SIGKILL of a worker" else dice.choice([0, 2])
    grid = store.grid(folder, number, workers, **limits)
    if fault == "disk quota reached":
        return f"ended with {grid.wait()}"
    # One in five hits the start; the others the work, however slow the machine is just now.
    if dice.random() < 0.8:
        grid.wait_until_said("cells")
    if not grid.runs_after(dice.uniform(0, 8)):
        return "came too late"
    match fault:
        case "SIGKILL of the driver":
            grid.tell(signal.SIGKILL)
        case "SIGKILL of the tree":
            grid.kill_tree()
        case "SIGTERM":
            grid.tell(signal.SIGTERM)
        case "Ctrl-C":
            grid.tell(signal.SIGINT)
        case "Ctrl-C twice":
            grid.tell(signal.SIGINT)
            time.sleep(dice.uniform(0, 1))
            grid.tell(signal.SIGINT)
        case "SIGKILL of a worker":
            if not grid.kill_a_worker(dice):
                grid.kill_tree()
                return "no worker yet: killed the tree"
        case "server stopped and started":
            assert store.server
            store.server.stop()
            time.sleep(dice.uniform(0, 4))
            store.server.start()
        case "checkpoint truncated":
            grid.kill_tree()
            if not truncate_one(store.checkpoints(), dice):
                return "no checkpoint yet: killed the tree"
    return f"ended with {grid.wait()}"


def results(client: MlflowClient) -> pd.DataFrame:
    """The finished cells by fingerprint, with what must not depend on how they came about."""
    runs = tracking.cell_runs(client)
    runs = runs[runs["status"] == "FINISHED"].set_index("fingerprint")
    for run in runs["run_id"]:
        assert tracking.predictions(client, run) is not None
    runs["predictions"] = [
        tracking.predictions(client, run).predicted.tobytes() for run in runs["run_id"]
    ]
    for metric in (keys.TRAIN_LOSS, keys.VAL_ACCURACY):
        runs[f"{metric} history"] = [
            tuple(tracking.history(client, run, metric)) for run in runs["run_id"]
        ]
    return runs.sort_index()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_disturbed_grids_end_as_undisturbed_ones(
    home: Path, stores: list[Store], capsys: pytest.CaptureFixture[str]
) -> None:
    dice = random.Random(SEED)
    faults = [FAULTS[i % len(FAULTS)] for i in range(ROUNDS)]
    dice.shuffle(faults)
    done: Counter[str] = Counter()
    for number, fault in enumerate(faults):
        with_server = fault == "server stopped and started" or number % 2
        store = stores[1] if with_server else stores[0]
        outcome = disturb(store, fault, home, number, dice)
        said = (home / f"round-{number}.log").read_text()
        assert "Traceback" not in said, said
        done[f"{fault}: {outcome}"] += 1
        if outcome in ("ended with 0", "came too late"):
            # This grid is complete: the next one is larger.
            store.seeds += 1
        with capsys.disabled():
            print(f"round {number + 1}/{ROUNDS}: {fault}: {outcome}", flush=True)
    losses = 0
    # One grid without faults is compared with both: first as far as the smaller of them goes.
    quiet = Store(f"sqlite:///{home}/quiet.db", home / "quiet", None)
    for store in sorted(stores, key=lambda store: store.seeds):
        grid = store.grid(home, ROUNDS + stores.index(store), 2)
        assert grid.wait() == 0, grid.said()
        subprocess.run([*MNIST_OPS, "sync"], check=True, capture_output=True)
        client = tracking.connect(store.uri)
        experiments = [e.experiment_id for e in client.search_experiments()]
        assert not client.search_runs(experiments, "attributes.status = 'RUNNING'")
        disturbed = results(client)
        quiet.seeds = store.seeds
        grid = quiet.grid(home, ROUNDS + 10 + stores.index(store), 2)
        assert grid.wait() == 0, grid.said()
        undisturbed = results(tracking.connect(quiet.uri))
        assert not disturbed.index.duplicated().any()
        losses += len(set(undisturbed.index) - set(disturbed.index))
        assert list(disturbed.index) == list(undisturbed.index)
        for column in [*SAME, "predictions", "train_loss history", "val_accuracy history"]:
            pd.testing.assert_series_equal(disturbed[column], undisturbed[column])
    with capsys.disabled():
        print(f"\n{ROUNDS} rounds, {losses} cells lost")
        for what, times in sorted(done.items()):
            print(f"  {times:2} x {what}")
