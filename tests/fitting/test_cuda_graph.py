"""A step as a graph is the step, and a training that has none goes on as it was."""

import dataclasses
import logging
from collections.abc import Iterator

import pytest
import torch
from data_fixtures import fixture_images
from model_fixtures import NETWORK
from torch import Tensor

from mnist_ops.data import split_of
from mnist_ops.fitting.determinism import reproducible
from mnist_ops.fitting.fast import cuda_graph
from mnist_ops.fitting.resnet import train
from mnist_ops.study.specs import ResNetSpec

SPEC = dataclasses.replace(NETWORK, epochs=1, train_limit=70, test_limit=40)
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with reproducible(threads=1):
        yield


def trainer_of(spec: ResNetSpec) -> train.Trainer:
    images = fixture_images("MNIST")
    trainer = train.Trainer(spec, images, split_of(spec, images))
    trainer.prepared.network.train()
    return trainer


def after_an_epoch(trainer: train.Trainer) -> tuple[float, dict[str, Tensor], Tensor]:
    """Its loss, its state, and what it predicts."""
    loss = trainer.train_epoch()
    return loss, trainer.prepared.network.state_dict(), trainer.predict(trainer.train_index)


def check_same(found: tuple[float, dict, Tensor], expected: tuple[float, dict, Tensor]) -> None:
    assert found[0] == expected[0]
    assert torch.equal(found[2], expected[2])
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
