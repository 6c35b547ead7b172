"""A champion behind `mlflow models serve`: raw images in, the logged classes out."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from champion_fixtures import NETWORK_CELL, run
from data_fixtures import fixture_images
from mlflow import MlflowClient

from mnist_ops import tracking
from mnist_ops.serving.champions import register_best

pytestmark = pytest.mark.slow


@pytest.fixture
def served(small_data: Path, home: Path) -> Iterator[str]:
    """The address of a server of a network that is champion."""
    run(NETWORK_CELL, 200)
    register_best(tracking.default_uri(), ["MNIST"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local"]
    command += ["-m", "models:/mnist-ops-mnist@champion", "--port", str(port)]
    # `mlflow models serve` starts uvicorn by its name.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    with (home / "server.log").open("w") as log:
        server = subprocess.Popen(
            command, cwd=home, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            _wait_for(f"http://127.0.0.1:{port}/ping", server, home / "server.log")
            yield f"http://127.0.0.1:{port}/invocations"
        finally:
            # It has nothing to save, and may take long to end by itself on a busy machine.
            os.killpg(server.pid, 9)
            server.wait(timeout=30)


def _wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        assert server.poll() is None, log.read_text()[-3000:]
        try:
            if requests.get(address, timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.2)
    raise AssertionError(log.read_text()[-3000:])


def test_a_served_champion_gives_the_classes_that_were_logged(
    served: str, client: MlflowClient
) -> None:
    (cell,) = tracking.cell_runs(client).to_dict("records")
    logged = tracking.predictions(client, cell["run_id"])
    assert logged is not None
    images = fixture_images("MNIST").images[logged.index]

    def answers(given: Any) -> list[dict[str, Any]]:
        response = requests.post(served, json={"inputs": given}, timeout=60)
        assert response.status_code == 200, response.text
        rows: list[dict[str, Any]] = response.json()["predictions"]
        return rows

    found = np.array([row["class"] for row in answers(images.tolist())])
    assert np.array_equal(found, logged.predicted)
    assert np.mean(found == logged.label) == pytest.approx(cell["test_accuracy"], abs=1e-12)
    (alone,) = answers(images[7:8].tolist())
    assert alone["class"] == logged.predicted[7]
    assert alone["class_name"] == str(logged.predicted[7])
    assert 0 < alone["probability"] <= 1
    (noise,) = answers(np.random.default_rng(0).integers(0, 256, (1, 28, 28)).tolist())
    assert "pattern" in noise["unlike"]

    for wrong in ([[[0] * 28] * 27], [[[300] * 28] * 28], [[[-1] * 28] * 28], [["a"]], "text"):
        response = requests.post(served, json={"inputs": wrong}, timeout=60)
        assert response.status_code == 400, (wrong, response.text)
