"""A step as a graph is the step, and a training that has none goes on as it was."""

import dataclasses
import logging
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from data_fixtures import fixture_images
from specs import RESNET
from torch import Tensor

from mnist_ops.core import cuda
from mnist_ops.data import split_of
from mnist_ops.fitting.determinism import reproducible
from mnist_ops.fitting.fast import cuda_graph
from mnist_ops.fitting.fast.step import Prepared
from mnist_ops.fitting.resnet import train
from mnist_ops.fitting.resnet.device import own_stream
from mnist_ops.study.specs import ResNetSpec

SPEC = dataclasses.replace(RESNET, epochs=1, train_limit=70, test_limit=40)
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.fixture(autouse=True)
def as_in_a_training() -> Iterator[None]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with own_stream(device), reproducible(threads=1):
        yield


def trainer_of(spec: ResNetSpec) -> train.Trainer:
    images = fixture_images("MNIST")
    trainer = train.Trainer(spec, images, split_of(spec, images))
    trainer.prepared.network.train()
    return trainer


def after_an_epoch(trainer: train.Trainer) -> tuple[float, dict[str, Tensor], np.ndarray]:
    """Its loss, its state, and what it predicts."""
    loss = trainer.train_epoch()
    return loss, trainer.prepared.network.state_dict(), trainer.predict(trainer.train_index.numpy())


def check_same(
    found: tuple[float, dict, np.ndarray], expected: tuple[float, dict, np.ndarray]
) -> None:
    assert found[0] == expected[0]
    assert np.array_equal(found[2], expected[2])
    for name, value in expected[1].items():
        assert torch.equal(found[1][name], value), name


@pytest.mark.parametrize("began", [False, True])
@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_steps_are_taken_back(optimizer: str, plain: bool, began: bool) -> None:
    spec = dataclasses.replace(SPEC, optimizer=optimizer, plain=plain)
    trainer, undisturbed = trainer_of(spec), trainer_of(spec)
    batch = trainer.train_index[:16]
    if began:
        trainer.take_step(batch)
        undisturbed.take_step(batch)
    with cuda_graph.restored_after(
        trainer.prepared.network, trainer.prepared.optimizer, trainer.prepared.scaler
    ):
        for _ in range(3):
            trainer.take_step(batch)
    check_same(after_an_epoch(trainer), after_an_epoch(undisturbed))


@pytest.mark.parametrize("plain", [False, True])
def test_a_graph_takes_whole_batches_and_what_it_writes_is_seen(plain: bool) -> None:
    spec = dataclasses.replace(SPEC, plain=plain)
    trainer, eager = trainer_of(spec), trainer_of(spec)
    sizes = []

    def step(pixels: Tensor, labels: Tensor) -> Tensor:
        sizes.append(len(labels))
        return trainer.prepared.eager_step(pixels, labels)

    trainer.prepared.graphs[spec.batch_size] = step
    check_same(after_an_epoch(trainer), after_an_epoch(eager))
    # 70 images are four whole batches and six more.
    assert sizes == [16] * 4


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_without_a_graph_the_training_goes_on(
    optimizer: str, caplog: pytest.LogCaptureFixture
) -> None:
    spec = dataclasses.replace(SPEC, optimizer=optimizer)
    trainer, eager = trainer_of(spec), trainer_of(spec)
    with caplog.at_level(logging.WARNING):
        graph = cuda_graph.captured(
            trainer.prepared.eager_step,
            trainer.prepared.network,
            trainer.prepared.optimizer,
            trainer.prepared.scaler,
            *trainer.feed(trainer.train_index[:16]),
        )
    assert graph is None
    assert "no CUDA graph" in caplog.text
    check_same(after_an_epoch(trainer), after_an_epoch(eager))


@pytest.mark.parametrize("rate", [0.001, 1e-5])
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_a_graph_that_is_another_step_is_told(optimizer: str, rate: float) -> None:
    spec = dataclasses.replace(SPEC, optimizer=optimizer, learning_rate=rate, precision="float32")
    batches = [slice(0, 16), slice(0, 16), slice(16, 32)]
    trainers = [trainer_of(spec) for _ in batches]
    before = [w.detach().clone() for w in weights_of(trainers[0])]
    for trainer, batch in zip(trainers, batches, strict=True):
        trainer.take_step(trainer.train_index[batch])
    expected, again, of_other_batch = map(weights_of, trainers)
    noise = torch.Generator().manual_seed(0)
    rounded = [
        old + (new - old) * (1 + 1e-3 * torch.randn(old.shape, generator=noise))
        for old, new in zip(before, expected, strict=True)
    ]
    assert cuda_graph.alike(before, again, expected)
    assert cuda_graph.alike(before, rounded, expected)
    assert not cuda_graph.alike(before, of_other_batch, expected)
    assert not cuda_graph.alike(before, before, expected)
    assert not cuda_graph.alike(
        before, [2 * new - old for old, new in zip(before, expected, strict=True)], expected
    )


def weights_of(trainer: train.Trainer) -> list[Tensor]:
    return [
        weight for group in trainer.prepared.optimizer.param_groups for weight in group["params"]
    ]


def test_an_optimizer_is_capturable_only_while_it_is_captured() -> None:
    adam, sgd = (trainer_of(dataclasses.replace(SPEC, optimizer=name)) for name in ("Adam", "SGD"))
    for trainer, expected in ((adam, [True]), (sgd, [])):
        groups = trainer.prepared.optimizer.param_groups
        with cuda_graph.capturable(trainer.prepared.optimizer):
            assert [g["capturable"] for g in groups if "capturable" in g] == expected
        assert not any(g.get("capturable") for g in groups)


def test_a_first_step_that_overflows_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    def empty_like(tensor: Tensor, **options: object) -> Tensor:
        return torch.full_like(tensor, torch.nan)

    def prepared() -> Prepared:
        torch.manual_seed(0)
        network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, fused=True)
        return Prepared(network, optimizer, torch.device("cpu"), torch.float16)

    found, expected = prepared(), prepared()
    # What memory holds that torch has taken and not written.
    monkeypatch.setattr(torch, "empty_like", empty_like)
    pixels, labels = torch.ones(2, 1, 2, 2), torch.tensor([0, 1])
    found.step(pixels * torch.inf, labels)
    for each in (found, expected):
        each.scaler.load_state_dict(expected.scaler.state_dict())
        each.step(pixels, labels)
    for a, b in zip(found.network.parameters(), expected.network.parameters(), strict=True):
        assert torch.isfinite(a).all()
        assert torch.equal(a, b)


@CUDA
def test_trainings_that_run_have_streams_of_their_own() -> None:
    device, ours = torch.device("cuda"), torch.cuda.current_stream()
    for _ in range(cuda.MAX_STREAMS + 1):
        with own_stream(device), own_stream(device):
            assert torch.cuda.current_stream() != ours


@CUDA
@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_a_device_computes_what_a_cpu_does(optimizer: str, plain: bool, graph: bool) -> None:
    spec = dataclasses.replace(
        SPEC, optimizer=optimizer, precision="float32", plain=plain, learning_rate=1e-4
    )
    trainer = trainer_of(dataclasses.replace(spec, device="cuda"))
    on_cpu = trainer_of(spec)
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        if graph:
            trainer.capture()
            assert trainer.prepared.graphs
        found, expected = after_an_epoch(trainer), after_an_epoch(on_cpu)
    assert found[0] == pytest.approx(expected[0], rel=1e-2)
    for name, value in expected[1].items():
        assert torch.allclose(found[1][name].cpu().float(), value.float(), rtol=5e-2, atol=2e-3), (
            name
        )


@CUDA
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_a_graph_is_the_eager_step(optimizer: str, plain: bool, precision: str) -> None:
    spec = dataclasses.replace(
        SPEC, optimizer=optimizer, device="cuda", precision=precision, plain=plain
    )
    trainer, eager = trainer_of(spec), trainer_of(spec)
    trainer.capture()
    assert list(trainer.prepared.graphs) == [spec.batch_size]
    found, expected = after_an_epoch(trainer), after_an_epoch(eager)
    assert found[0] == pytest.approx(expected[0], rel=1e-3)
    for name, value in expected[1].items():
        assert torch.allclose(found[1][name], value, rtol=1e-2, atol=1e-3), name


@CUDA
def test_a_training_by_graph_goes_on_from_its_checkpoint() -> None:
    spec = dataclasses.replace(SPEC, device="cuda")
    whole, half, rest = trainer_of(spec), trainer_of(spec), trainer_of(spec)
    for trainer in (whole, half):
        trainer.capture()
        trainer.train_epoch()
    rest.restore(half.state())
    rest.capture()
    assert after_an_epoch(rest)[0] == pytest.approx(after_an_epoch(whole)[0], rel=1e-3)
