"""Use an existing Dask cluster, after checking that its workers have what cells need."""

import platform
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from distributed import Client, WorkerPlugin

from mnist_ops import __version__, data, tracking
from mnist_ops.core import instruction_set
from mnist_ops.core.errors import InvalidInput, MnistOpsError, one_line
from mnist_ops.runner.workers.pool import LINES, START_TIMEOUT_S, WorkersUnavailable
from mnist_ops.study import grids

# Packages whose version affects results.
_SAME_VERSIONS = ("torch", "torchvision", "scikit-learn", "numpy")
_PLUGIN = "mnist-ops"


@dataclass(frozen=True)
class Needs:
    """Requirements on a worker.

    Attributes:
        address: of the tracking store, which it must reach.
        datasets: names of the data sets in its own data folder.
        versions: of the packages that affect results, as in the process that starts the grid.
        studies: places of studies with functions or data sets of their own.
        instructions: the instruction set; ``auto`` is whatever the worker's CPU has.
    """

    address: tracking.Address
    datasets: tuple[str, ...]
    versions: dict[str, str]
    studies: tuple[str, ...] = ()
    instructions: str = instruction_set.AUTO

    @classmethod
    def of_this_process(
        cls,
        address: tracking.Address,
        datasets: Collection[str],
        studies: Collection[str] = (),
        instructions: str = instruction_set.AUTO,
    ) -> "Needs":
        """Return the requirements for computing the same as in this process."""
        return cls(address, tuple(datasets), _versions(), tuple(studies), instructions)

    def missing_here(self) -> list[str]:
        """Return a line that says what to do for each requirement that this process lacks."""
        lines = [*self._other_versions(), *self._other_instructions(), *self._missing_studies()]
        # Data sets of studies are found only with these.
        return lines or [*self._missing_data(), *self._missing_store()]

    def _other_versions(self) -> Iterator[str]:
        ours = _versions()
        for package, version in self.versions.items():
            if ours[package] != version:
                yield f"has {package} {ours[package]}, the grid {version}: install that one there"

    def _other_instructions(self) -> Iterator[str]:
        asked, ours = self.instructions, instruction_set.current()
        if asked not in (instruction_set.AUTO, ours):
            yield (
                f"computes with {ours or platform.machine()}, the grid with {asked}: start it "
                f"there with {instruction_set.VARIABLE}={asked}"
            )

    def _missing_studies(self) -> Iterator[str]:
        for place in self.studies:
            try:
                grids.find(place)
            except InvalidInput as error:
                yield f"cannot load a study ({error}): put its file there, under the same path"

    def _missing_data(self) -> Iterator[str]:
        for name in self.datasets:
            if not (found := data.status(name)).intact:
                yield (
                    f"has no intact {name} in {found.folder}: run `mnist-ops data {name}` there, "
                    "or set MNIST_OPS_DATA to where it is"
                )

    def _missing_store(self) -> Iterator[str]:
        shown = tracking.without_password(self.address.uri)
        try:
            client = tracking.connect(self.address.uri, create=False)
            client.get_run(self.address.store)
        except MnistOpsError as error:
            yield f"cannot reach the tracking store: {error}"
        except Exception as error:
            yield f"sees another tracking store at {shown} ({one_line(error)})"


class _CheckNewWorkers(WorkerPlugin):  # type: ignore[misc]
    """Checks each worker that joins while a grid runs, and closes it if it lacks something."""

    def __init__(self, needs: Needs):
        self.needs = needs

    def setup(self, worker: Any) -> None:
        if missing := self.needs.missing_here():
            worker.log_event(LINES, f"worker {worker.address} is not used: it {missing[0]}")
            worker.loop.call_later(1, worker.close, nanny=True)


@contextmanager
def existing_cluster(address: str, needs: Needs) -> Iterator[Client]:
    """Connect to the Dask scheduler at `address`, and check its workers.

    Raises:
        WorkersUnavailable: the scheduler does not answer, has no workers, or one of them lacks
            something, which the message names.
    """
    try:
        client = Client(address, timeout=10)
    except (OSError, ValueError) as error:
        raise WorkersUnavailable(
            f"no Dask scheduler answers at {address} ({one_line(error)}): start one with "
            "`dask scheduler`, or leave --scheduler out"
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=START_TIMEOUT_S)
        except TimeoutError:
            raise WorkersUnavailable(
                f"the Dask scheduler at {address} has no workers: start some with "
                f"`dask worker {address} --nthreads 1`"
            ) from None
        try:
            missing = client.run(Needs.missing_here, needs)
        except Exception as error:
            raise WorkersUnavailable(
                f"the workers of {address} cannot load mnist-ops ({one_line(error)}): install "
                "the same version of it there"
            ) from None
        for worker, lines in missing.items():
            if lines:
                raise WorkersUnavailable(f"the worker {worker} {'; it '.join(lines)}")
        client.register_plugin(_CheckNewWorkers(needs), name=_PLUGIN)
        try:
            yield client
        finally:
            if client.status == "running":
                client.unregister_worker_plugin(_PLUGIN)


def _versions() -> dict[str, str]:
    return {"mnist-ops": __version__} | {name: _version(name) for name in _SAME_VERSIONS}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
