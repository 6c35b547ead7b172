"""Several processes at one grid: drivers that know nothing of each other, workers elsewhere."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults import Grid, Server
from mlflow import MlflowClient

from mnist_ops import data, tracking
from mnist_ops.core import keys

pytestmark = pytest.mark.slow

SMALL = ["--device", "cpu", "--datasets", "MNIST", "--test-limit", "100"]
RESNETS = ["resnet_grid", *SMALL, "--set", "model=resnet18", "--set", "batch_size=16"]
ONE_TRAINING = [*RESNETS, "--set", "optimizer=SGD", "--set", "learning_rate=0.001"]
ONE_TRAINING += ["--set", "pin_memory=false"]


@pytest.fixture
def server(home: Path) -> Iterator[Server]:
    made = Server(home)
    yield made
    made.stop()


def finished_once(client: MlflowClient, cells: int) -> None:
    """Each of `cells` has one run, which is finished, and nothing is open."""
    runs = tracking.cell_runs(client)
    assert set(runs["status"]) == {"FINISHED"}
    assert len(runs) == runs["fingerprint"].nunique() == cells
    experiments = [e.experiment_id for e in client.search_experiments()]
    assert not client.search_runs(experiments, "attributes.status = 'RUNNING'")


@pytest.mark.parametrize("kind", ["sqlite", "server"])
def test_two_drivers_share_a_grid(
    home: Path, kind: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if kind == "server":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", request.getfixturevalue("server").uri)
    grid = [*RESNETS, "--set", "epochs=1,2", "--train-limit", "160"]
    drivers = [
        Grid(*grid, "--workers", "1", "--json", log=home / f"driver-{i}.log") for i in range(2)
    ]
    assert [driver.wait() for driver in drivers] == [0, 0], [d.said() for d in drivers]
    finished_once(tracking.connect(tracking.default_uri()), cells=16)
    for driver in drivers:
        said = driver.said()
        (report,), _ = json.JSONDecoder().raw_decode(said, said.index("\n[\n") + 1)
        assert len(report["finished"]) + len(report["skipped"]) == 16


def test_a_server_that_is_away_in_the_middle_loses_no_point(
    home: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    training = [*ONE_TRAINING, "--set", "epochs=12", "--train-limit", "160"]
    grid = Grid(*training, "--workers", "1", log=home / "driver.log")
    client = tracking.connect(server.uri)
    deadline = time.monotonic() + 120
    while tracking.cell_runs(client).empty and time.monotonic() < deadline:
        time.sleep(0.2)
    server.stop()
    time.sleep(6)
    server.start()
    assert grid.wait() == 0, grid.said()
    finished_once(client, cells=1)
    (run_id,) = tracking.cell_runs(client)["run_id"]
    points = client.get_metric_history(run_id, keys.TRAIN_LOSS)
    assert [point.step for point in points] == list(range(1, 13))
    times = [point.timestamp for point in points]
    assert times == sorted(times)


class Cluster:
    """A Dask scheduler, and workers that are started by hand."""

    def __init__(self, home: Path):
        self.home = home
        self.processes: list[subprocess.Popen[bytes]] = []
        self._start("scheduler", "--port", "0", "--no-dashboard")
        file = home / "scheduler.json"
        deadline = time.monotonic() + 60
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        self.address = json.loads(file.read_text())["address"]

    def worker(self, data_dir: Path, *more: str) -> subprocess.Popen[bytes]:
        return self._start(
            "worker", "--nthreads", "1", "--no-nanny", *more, MNIST_OPS_DATA=str(data_dir)
        )

    def _start(self, role: str, *more: str, **variables: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{role}", "--host", "127.0.0.1"]
        command += ["--scheduler-file", str(self.home / "scheduler.json"), *more]
        process = subprocess.Popen(
            command, env=os.environ | variables, stderr=subprocess.DEVNULL, cwd=self.home
        )
        self.processes.append(process)
        return process

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.kill()
            process.wait()


@pytest.fixture
def cluster(home: Path) -> Iterator[Cluster]:
    made = Cluster(home)
    yield made
    made.stop()


def data_folder(home: Path, name: str) -> Path:
    """A data folder of its own, of links to the files of the default one."""
    folder = home / name
    source = data.status("MNIST").folder
    (folder / "MNIST" / "raw").mkdir(parents=True)
    for file in source.iterdir():
        if file.is_file():
            (folder / "MNIST" / "raw" / file.name).symlink_to(file)
    return folder


def test_a_worker_that_is_killed_loses_no_cell(
    home: Path, cluster: Cluster, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    data.ensure("MNIST")
    folders = [data_folder(home, name) for name in ("data of one", "data of two")]
    workers = [cluster.worker(folder) for folder in folders]
    # The driver's own data is of no matter.
    monkeypatch.setenv("MNIST_OPS_DATA", str(home / "none"))
    grid = Grid(
        *[*RESNETS, "--set", "epochs=4", "--train-limit", "320", "--set", "pin_memory=false"],
        *["--scheduler", cluster.address, "--checkpoint-every", "1"],
        log=home / "driver.log",
    )
    deadline = time.monotonic() + 180
    while "[1/" not in grid.said() and time.monotonic() < deadline:
        assert grid.process.poll() is None, grid.said()
        time.sleep(0.1)
    workers[0].kill()
    assert grid.wait(400) == 0, grid.said()
    assert "Traceback" not in grid.said()
    finished_once(client, cells=4)


def test_threads_of_a_worker_compute_cells_side_by_side(
    home: Path, cluster: Cluster, client: MlflowClient
) -> None:
    data.ensure("MNIST")
    cluster.worker(data.default_data_dir(), "--nthreads", "4")
    common = [*RESNETS, "--set", "epochs=2", "--train-limit", "160", "--set", "pin_memory=false"]
    together = Grid(
        *common, "--streams", "4", "--scheduler", cluster.address, log=home / "driver.log"
    )
    assert together.wait(400) == 0, together.said()
    assert "streams change nothing: no CUDA device found" in together.said()
    finished_once(client, cells=4)
    first = accuracies(client)
    alone = Grid(*common, "--workers", "0", "--force", log=home / "alone.log")
    assert alone.wait(400) == 0, alone.said()
    assert accuracies(client) == first


def accuracies(client: MlflowClient) -> dict[str, float]:
    """Of each finished cell."""
    runs = client.search_runs(
        [experiment.experiment_id for experiment in client.search_experiments()],
        f"tags.`{keys.ROLE}` = '{keys.ROLE_CELL}' and attributes.status = 'FINISHED'",
    )
    return {run.data.tags[keys.FINGERPRINT]: run.data.metrics[keys.TEST_ACCURACY] for run in runs}


def test_a_worker_without_data_is_named(home: Path, cluster: Cluster) -> None:
    cluster.worker(home / "nothing here")
    grid = Grid(*ONE_TRAINING, "--scheduler", cluster.address, log=home / "driver.log")
    assert grid.wait() == 1
    (line,) = [line for line in grid.said().splitlines() if line.startswith("mnist-ops: ")]
    assert "has no intact MNIST in" in line
    assert "mnist-ops data MNIST" in line


def test_ctrl_c_saves_and_the_next_start_goes_on(home: Path, client: MlflowClient) -> None:
    training = [*ONE_TRAINING, "--set", "epochs=8", "--train-limit", "640"]
    grid = Grid(*training, "--workers", "1", "--checkpoint-every", "1", log=home / "driver.log")
    deadline = time.monotonic() + 120
    while tracking.cell_runs(client).empty and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(3)
    grid.tell(signal.SIGINT)
    assert grid.wait() == 130
    assert "run the same command to continue" in grid.said()
    ((cut, status),) = tracking.cell_runs(client)[["run_id", "status"]].itertuples(index=False)
    assert status == "KILLED"
    grid = Grid(*training, "--workers", "1", log=home / "again.log")
    assert grid.wait() == 0, grid.said()
    finished_once(client, cells=1)
    stored = client.get_run(cut)
    assert stored.info.status == "FINISHED"
    assert stored.data.tags[keys.SEGMENTS] == "2"
    assert [step for step, _ in tracking.history(client, cut, keys.TRAIN_LOSS)] == [*range(1, 9)]
