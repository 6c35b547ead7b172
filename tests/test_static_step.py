"""A step of fixed shapes is the trainer's step, and its graph is the step."""

import dataclasses
from collections.abc import Iterator

import pytest
import torch
from data_fixtures import fixture_images
from torch import Tensor

from mnist_ops import train
from mnist_ops.data import split_of
from mnist_ops.specs import ResNetSpec
from mnist_ops.static_step import StaticStep, side_by_side

SPEC = ResNetSpec(
    study="resnet_grid",
    dataset="MNIST",
    model="resnet18",
    batch_size=16,
    optimizer="Adam",
    learning_rate=0.001,
    epochs=1,
    train_limit=64,
    test_limit=40,
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with train.reproducible(threads=1):
        yield


def trainer_of(spec: ResNetSpec) -> train._Trainer:
    images = fixture_images("MNIST")
    parts = split_of(spec, images)
    trainer = train._Trainer(spec, images, parts, torch.device(spec.device))
    trainer.network.train()
    return trainer


def static_step_of(trainer: train._Trainer) -> StaticStep:
    return StaticStep(
        trainer.network,
        trainer.flat,
        trainer.optimizer,
        trainer.scaler,
        trainer._autocast(),
        trainer.images.images.to(trainer.device),
        trainer.images.labels.to(trainer.device),
        (trainer.feed.mean, trainer.feed.std),
        trainer.spec.batch_size,
    )


def state_after(spec: ResNetSpec) -> tuple[float, dict[str, Tensor]]:
    """Summed loss and state of the trainer's own steps."""
    trainer = trainer_of(spec)
    total = sum(float(trainer.take_step(batch)) for batch in trainer._batches())
    return total, trainer.network.state_dict()


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_eager_is_the_trainers_step(optimizer: str, plain: bool) -> None:
    spec = dataclasses.replace(SPEC, optimizer=optimizer, plain=plain)
    trainer = trainer_of(spec)
    step = static_step_of(trainer)
    side_by_side([step], [[batch] for batch in trainer._batches()])
    total, expected = state_after(spec)
    assert float(step.loss) == pytest.approx(total)
    for name, value in trainer.network.state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_side_by_side_trainings_are_their_own() -> None:
    specs = [dataclasses.replace(SPEC, seed=seed) for seed in (0, 1)]
    trainers = [trainer_of(spec) for spec in specs]
    steps = [static_step_of(trainer) for trainer in trainers]
    side_by_side(steps, zip(*[trainer._batches() for trainer in trainers], strict=True))
    for spec, step in zip(specs, steps, strict=True):
        assert float(step.loss) == pytest.approx(state_after(spec)[0])


def test_the_rate_can_be_changed() -> None:
    trainer = trainer_of(dataclasses.replace(SPEC, optimizer="SGD"))
    step = static_step_of(trainer)
    step.set_rate(0.0)
    before = {name: value.clone() for name, value in trainer.network.named_parameters()}
    side_by_side([step], [[batch] for batch in trainer._batches()])
    assert all(torch.equal(v, before[n]) for n, v in trainer.network.named_parameters())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_a_graph_is_the_eager_step(optimizer: str, precision: str) -> None:
    spec = dataclasses.replace(SPEC, optimizer=optimizer, device="cuda", precision=precision)
    eager, captured = trainer_of(spec), trainer_of(spec)
    steps = [static_step_of(eager), static_step_of(captured)]
    steps[1].capture()
    side_by_side(steps, [[batch, batch] for batch in eager._batches()])
    assert float(steps[1].loss) == pytest.approx(float(steps[0].loss), rel=1e-4)
    for name, value in captured.network.state_dict().items():
        assert torch.allclose(value, eager.network.state_dict()[name], atol=1e-3), name
