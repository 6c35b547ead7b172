"""Trainings in threads of one process: each as if it were alone, and as many as are to share."""

import dataclasses
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from data_fixtures import fixture_images
from distributed import Client, LocalCluster
from specs import RESNET
from torch import nn

from mnist_ops.core import keys
from mnist_ops.core.errors import InvalidInput, Stopped
from mnist_ops.data import Images
from mnist_ops.fitting.checkpoints import Checkpoint
from mnist_ops.fitting.determinism import reproducible
from mnist_ops.fitting.resnet import catalog, train
from mnist_ops.runner.fit_groups import FitGroup
from mnist_ops.runner.task import CellContext, Outcome, Progress
from mnist_ops.runner.workers import pool
from mnist_ops.runner.workers.pool import GPU, DaskPool
from mnist_ops.study.results import FitResult
from mnist_ops.study.specs import ResNetSpec
from mnist_ops.tracking import Address, Parent

SPEC = dataclasses.replace(RESNET, epochs=2, train_limit=70, test_limit=40)
SAME = (keys.TRAIN_LOSS, keys.VAL_ACCURACY, keys.TEST_ACCURACY)


@pytest.fixture
def images() -> Images:
    return fixture_images("MNIST")


@pytest.fixture
def dropping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Declare a ResNet-18 that drops features at random while it trains."""
    resnet18 = catalog.MODELS["resnet18"].build

    def build(image_shape: tuple[int, int, int], n_classes: int) -> nn.Module:
        network = resnet18(image_shape, n_classes)
        network.fc = nn.Sequential(nn.Dropout(0.5), network.fc)
        return network

    monkeypatch.setitem(catalog.MODELS, "dropping", catalog.Model("dropping", "Dropping", build))


def fit(spec: ResNetSpec, images: Images) -> FitResult:
    with reproducible(threads=1):
        return train.fit(spec, images)[spec.epochs]


def fit_side_by_side(specs: Sequence[ResNetSpec], images: Images) -> list[FitResult]:
    ready = threading.Barrier(len(specs))

    def fit_with_others(spec: ResNetSpec) -> FitResult:
        ready.wait()
        return fit(spec, images)

    with ThreadPoolExecutor(len(specs)) as threads:
        return list(threads.map(fit_with_others, specs))


def check_same(found: FitResult, expected: FitResult) -> None:
    assert np.array_equal(found.predictions, expected.predictions)
    assert [found.metrics[name] for name in SAME] == [expected.metrics[name] for name in SAME]


@pytest.mark.slow
def test_each_training_is_as_if_it_were_alone(images: Images) -> None:
    specs = [
        SPEC,
        dataclasses.replace(SPEC, seed=1),
        dataclasses.replace(SPEC, optimizer="SGD", batch_size=32),
        dataclasses.replace(SPEC, precision="float32", plain=True),
    ]
    for found, spec in zip(fit_side_by_side(specs, images), specs, strict=True):
        check_same(found, fit(spec, images))


@pytest.mark.slow
def test_so_is_one_that_draws_random_numbers(images: Images, dropping: None) -> None:
    specs = [
        dataclasses.replace(SPEC, model="dropping"),
        dataclasses.replace(SPEC, model="dropping", seed=1),
        SPEC,
    ]
    together = fit_side_by_side(specs, images)
    alone = [fit(spec, images) for spec in specs]
    for found, expected in zip(together, alone, strict=True):
        check_same(found, expected)
    assert alone[0].metrics[keys.TRAIN_LOSS] != alone[2].metrics[keys.TRAIN_LOSS]


def test_one_that_draws_goes_on_from_its_checkpoint_with_the_numbers_that_were_next(
    images: Images, dropping: None, tmp_path: Path
) -> None:
    spec = dataclasses.replace(SPEC, model="dropping")
    with reproducible(threads=1):
        kept = Checkpoint(tmp_path / "a.checkpoint", {"training": "a"}, 0)
        steps = iter(range(6))
        with pytest.raises(Stopped):
            train.fit(spec, images, checkpoint=kept, stop=lambda: next(steps, None) is None)
        torch.manual_seed(7)
        rest = train.fit(spec, images, checkpoint=kept)[spec.epochs]
    check_same(rest, fit(spec, images))


def test_the_callers_random_numbers_are_not_missing(images: Images, dropping: None) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    for model in ("resnet18", "dropping"):
        torch.manual_seed(5)
        fit(dataclasses.replace(SPEC, model=model), images)
        assert torch.equal(torch.rand(3), expected)


def test_settings_are_restored_by_the_last_to_leave() -> None:
    before = torch.get_num_threads()
    inner, outer = threading.Event(), threading.Event()
    seen = []

    def leave_first() -> None:
        with reproducible(threads=before + 1):
            inner.set()
            outer.wait(10)

    other = threading.Thread(target=leave_first)
    with reproducible(threads=before + 1):
        other.start()
        inner.wait(10)
        outer.set()
        other.join()
        seen.append(torch.backends.cudnn.deterministic)
    seen.append(torch.backends.cudnn.deterministic)
    assert seen == [True, False]
    assert torch.get_num_threads() == before


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A worker of eight threads with a device, which nothing here computes on."""
    with (
        LocalCluster(
            n_workers=1,
            threads_per_worker=8,
            processes=False,
            resources={GPU: 1},
            dashboard_address=None,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


_running: list[None] = []
_how_many: list[int] = []


def note_how_many_run(group: FitGroup, context: CellContext) -> list[Outcome]:
    """In place of a training: Dask's threads call it in this process."""
    _running.append(None)
    _how_many.append(len(_running))
    deadline = time.monotonic() + 20
    while max(_how_many) < context.streams and time.monotonic() < deadline:
        time.sleep(0.01)
    # One more than is right would begin now.
    time.sleep(0.1)
    _running.pop()
    return [Outcome(spec, "finished") for spec in group.cells]


def ignore(progress: Progress) -> None: ...


@pytest.mark.parametrize("streams", [1, 3, 8])
def test_as_many_cells_share_a_device_as_the_grid_says(
    client: Client, monkeypatch: pytest.MonkeyPatch, streams: int
) -> None:
    monkeypatch.setattr(pool, "_compute_on_worker", note_how_many_run)
    _how_many.clear()
    specs = [dataclasses.replace(SPEC, device="cuda", seed=seed) for seed in range(12)]
    context = CellContext(
        Address("none", "none"), Parent("none", "none"), None, {}, streams=streams
    )
    cells = [FitGroup(str(spec.seed), (spec,)) for spec in specs]
    dask = DaskPool(lambda: client, lambda: None, has_cuda=True)
    outcomes = list(dask.run(cells, context, ignore, print))
    assert {outcome.spec for outcome in outcomes} == set(specs)
    assert max(_how_many) == streams


def test_streams_without_workers_are_refused() -> None:
    from mnist_ops.runner import engine
    from mnist_ops.runner.settings import Settings
    from pipelines import STUDIES

    settings = Settings(workers=0, streams=2)
    with pytest.raises(InvalidInput, match="with 0 workers there are none"):
        engine.run([STUDIES["resnet_grid"]], settings, None)  # type: ignore[arg-type]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_on_a_device_each_training_is_as_if_it_were_alone(images: Images, precision: str) -> None:
    specs = [
        dataclasses.replace(
            SPEC, device="cuda", precision=precision, seed=seed, optimizer=("Adam", "SGD")[seed % 2]
        )
        for seed in range(6)
    ]
    alone = [fit(spec, images) for spec in specs]
    # Graphs are captured while other trainings take their steps; more often than torch has streams.
    for _ in range(7):
        for found, expected in zip(fit_side_by_side(specs, images), alone, strict=True):
            assert found.metrics[keys.TRAIN_LOSS] == pytest.approx(
                expected.metrics[keys.TRAIN_LOSS], rel=1e-2
            )
