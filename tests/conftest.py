"""Shared fixtures: a real SQLite store, and the small real data sets."""

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

# Before torch is imported. There is a test process a core: threads beyond that wait for each other,
# by which a convolution takes ten times the processor time.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import services
from data_fixtures import fixture_info, install_files
from doctor_fixtures import Doctor
from mlflow import MlflowClient
from requirements import require

from mnist_ops import tracking
from mnist_ops.data.catalog import DATASETS
from mnist_ops.tracking import claims, uploader

pytest_plugins = ["transfer_fixtures"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files of the longest limits: none is left to one process at the end."""
    limits: Counter[Path] = Counter()
    for item in items:
        if marker := item.get_closest_marker("timeout"):
            limits[item.path] = max(limits[item.path], marker.args[0])
    items.sort(key=lambda item: -limits[item.path])


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite store with MLflow's schema and no runs; making one takes a second, a copy none."""
    folder = tmp_path_factory.mktemp("empty")
    path = folder / "mlflow.db"
    before = Path.cwd()
    os.chdir(folder)
    try:
        tracking.connect(f"sqlite:///{path}")
    finally:
        os.chdir(before)
    return path


@pytest.fixture
def home(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with an empty store in MLflow's default place."""
    for variable in ("TRACKING_URI", "RUN_ID", "EXPERIMENT_NAME", "EXPERIMENT_ID"):
        monkeypatch.delenv(f"MLFLOW_{variable}", raising=False)
    monkeypatch.setenv("MNIST_OPS_STATE", str(tmp_path / "state"))
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def client(home: Path) -> MlflowClient:
    """A client of the store in `home`."""
    return tracking.connect(tracking.default_uri())


@pytest.fixture
def store(client: MlflowClient) -> str:
    """The id of the store in `home`, as a grid that has used it leaves it."""
    found = claims.find(client)
    assert found is not None
    return found


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The uploader comes to its last try in a second instead of 16."""
    monkeypatch.setattr(uploader, "FIRST_PAUSE_S", 0.03)


@pytest.fixture
def doctor() -> Doctor:
    """The doctor, on whatever the test has made."""
    return Doctor()


@pytest.fixture
def small_data(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with 600 real images of each set, whose digests the catalog takes for right."""
    folder = home / "data"
    for name in tuple(DATASETS):
        monkeypatch.setitem(DATASETS, name, fixture_info(name))
        install_files(name, folder)
    monkeypatch.setenv("MNIST_OPS_DATA", str(folder))
    return folder


@pytest.fixture(scope="session")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[services.Team]:
    """A team's servers with sign-in, the same ones for all tests that need them."""
    require(not services.MISSING, services.MISSING)
    with services.team(tmp_path_factory.mktemp("team")) as team:
        yield team


@pytest.fixture
def signed_in(home: Path, team: services.Team, monkeypatch: pytest.MonkeyPatch) -> services.Team:
    """The team's server as MLflow's store, with the right password."""
    for name, value in team.environment.items():
        monkeypatch.setenv(name, value)
    return team
