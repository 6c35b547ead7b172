"""The fast step: kernels, one vector of weights and fused layers change speed, and no bit."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torchvision
from data_fixtures import fixture_images
from model_fixtures import NETWORK
from specs import network_spec
from torch import Tensor, nn
from user_models import Transformer, mobilenet, vgg

from mnist_ops.data import split_of
from mnist_ops.data.catalog import DATASETS
from mnist_ops.fitting.determinism import reproducible
from mnist_ops.fitting.fast import Prepared, fast_norm, flat_weights, kernel_check, kernel_library
from mnist_ops.fitting.fast.cropped_kernels import rewrite
from mnist_ops.fitting.fast.flat_weights import FlatWeights
from mnist_ops.fitting.resnet import catalog, models, train
from mnist_ops.study.specs import ResNetSpec

DIGITS = DATASETS["MNIST"]

SPEC = dataclasses.replace(NETWORK, epochs=1, train_limit=72, test_limit=40)
STEPS = 4


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with reproducible(threads=1):
        yield


@pytest.fixture
def compiled() -> None:
    if not kernel_check.usable():
        pytest.skip("no compiled kernels here")


@pytest.fixture
def no_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_check, "usable", lambda: False)


def trainer_of(spec: ResNetSpec) -> train.Trainer:
    images = fixture_images("MNIST")
    trainer = train.Trainer(spec, images, split_of(spec, images))
    trainer.prepared.network.train()
    return trainer


def trained(spec: ResNetSpec) -> tuple[list[float], dict[str, Tensor]]:
    """Losses of a few steps, and the network's state after them."""
    trainer = trainer_of(spec)
    losses = [float(trainer.take_step(b)) for b in trainer.draw_batches()[:STEPS]]
    return losses, trainer.prepared.network.state_dict()


def assert_same_state(got: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert got.keys() == expected.keys()
    assert [name for name in got if not torch.equal(got[name], expected[name])] == []


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("model", ["resnet18", "resnet50"])
def test_kernels_give_torchs_bits(
    compiled: None, monkeypatch: pytest.MonkeyPatch, model: str, optimizer: str, precision: str
) -> None:
    spec = dataclasses.replace(SPEC, model=model, optimizer=optimizer, precision=precision)
    losses, state = trained(spec)
    monkeypatch.setattr(kernel_check, "usable", lambda: False)
    expected_losses, expected = trained(spec)
    assert losses == expected_losses
    assert_same_state(state, expected)


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_one_vector_gives_the_bits_of_separate_weights(no_kernels: None, optimizer: str) -> None:
    spec = dataclasses.replace(SPEC, optimizer=optimizer)
    losses, state = trained(spec)
    trainer = trainer_of(spec)
    network = rewrite(models.build(spec), DIGITS.image_shape).train()
    kind = torch.optim.SGD if optimizer == "SGD" else torch.optim.Adam
    momentum = {"momentum": spec.momentum} if optimizer == "SGD" else {}
    separate = kind(network.parameters(), lr=spec.learning_rate, fused=True, **momentum)
    trainer.prepared = Prepared(network, separate, torch.device("cpu"), torch.bfloat16)
    expected = [float(trainer.take_step(b)) for b in trainer.draw_batches()[:STEPS]]
    assert losses == expected
    # torch updates what is left of each weight's vector of 16 in another precision.
    for name, value in network.state_dict().items():
        assert torch.allclose(state[name], value, rtol=0, atol=1e-6), name


def test_weights_stay_views_of_the_vector() -> None:
    network = rewrite(models.build(network_spec("resnet18", 0)), DIGITS.image_shape)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    flat = FlatWeights(network, torch.bfloat16)
    assert_same_state(network.state_dict(), before)
    assert flat.weights.numel() % flat_weights.VECTOR == 0
    other = models.build(network_spec("resnet18", 1)).state_dict()
    network.load_state_dict(other)
    assert_same_state(network.state_dict(), other)
    with torch.no_grad():
        flat.weights.zero_()
    assert not any(bool(weight.detach().any()) for weight in network.parameters())


def test_casts_follow_what_is_loaded() -> None:
    network = rewrite(models.build(network_spec("resnet18", 0)), DIGITS.image_shape).eval()
    FlatWeights(network, torch.bfloat16)
    fresh = rewrite(models.build(network_spec("resnet18", 1)), DIGITS.image_shape).eval()
    pixels = torch.rand(4, *DIGITS.image_shape)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        network(pixels)
        network.load_state_dict(fresh.state_dict())
        assert torch.equal(network(pixels), fresh(pixels))


def test_a_weight_without_gradient_is_not_moved() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    unused = network[1].weight.detach().clone()
    flat = FlatWeights(network)
    optimizer = flat_weights.SGD(flat, 0.1, 0.9)
    for _ in range(2):
        network[0](torch.rand(3, 4)).sum().backward()
        flat.gather()
        optimizer.step()
    assert torch.equal(network[1].weight, unused)


def test_without_a_compiler_torch_does_the_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kernel_library.load.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr("mnist_ops.fitting.compiled.user_cache_path", lambda name: tmp_path)
        patch.setenv("CXX", "no-such-compiler")
        assert not kernel_check.usable()
        losses, _ = trained(SPEC)
    kernel_library.load.cache_clear()
    assert losses == trained(SPEC)[0]
    assert not list(tmp_path.rglob("*.so"))


def test_kernels_are_for_one_thread() -> None:
    torch.set_num_threads(2)
    assert not kernel_check.usable()


@pytest.mark.parametrize("size", [1, 2, 7])
@pytest.mark.parametrize("added", [False, True])
def test_fused_norm_is_torchs(compiled: None, size: int, added: bool) -> None:
    torch.manual_seed(size)

    def random_map() -> Tensor:
        x = torch.randn(6, 128, size, size).bfloat16()
        return x.contiguous(memory_format=torch.channels_last)

    norm, stock = nn.BatchNorm2d(128, momentum=0.3), nn.BatchNorm2d(128, momentum=0.3)
    for layer in (norm, stock):
        nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(0))
    x, other, dy = random_map(), random_map(), random_map()
    ours = [x.clone().requires_grad_(), other.clone().requires_grad_()]
    theirs = [x.clone().requires_grad_(), other.clone().requires_grad_()]
    got = fast_norm.norm_relu(ours[0], norm, ours[1] if added else None)
    y = stock(theirs[0])
    expected = torch.relu(y + theirs[1] if added else y)
    assert "_Fused" in got.grad_fn.name()
    assert torch.equal(got, expected)
    got.backward(dy)
    expected.backward(dy)
    for a, b in zip(
        [ours[0].grad, norm.weight.grad, norm.bias.grad, *norm.state_dict().values()],
        [theirs[0].grad, stock.weight.grad, stock.bias.grad, *stock.state_dict().values()],
        strict=True,
    ):
        assert torch.equal(a, b)
    if added:
        assert torch.equal(ours[1].grad, theirs[1].grad)


def test_only_torchvisions_own_blocks_are_fused() -> None:
    class Own(torchvision.models.resnet.BasicBlock):
        pass

    own = Own(64, 64)
    grouped = torchvision.models.resnet.BasicBlock(64, 64, norm_layer=lambda n: nn.GroupNorm(2, n))
    plain = torchvision.models.resnet.BasicBlock(64, 64)
    fast_norm.fuse(nn.Sequential(own, grouped, plain))
    assert type(own) is Own
    assert type(grouped) is torchvision.models.resnet.BasicBlock
    assert type(plain) is not torchvision.models.resnet.BasicBlock


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("build", [vgg, mobilenet, Transformer])
def test_a_users_model_trains_by_the_whole_step(
    monkeypatch: pytest.MonkeyPatch, build: type[nn.Module], precision: str
) -> None:
    """Its losses are those of its plain training, within rounding."""
    users = catalog.Model("users", "a user's", lambda shape, classes: build())
    monkeypatch.setitem(catalog.MODELS, "users", users)
    spec = dataclasses.replace(
        SPEC, model="users", learning_rate=0.0001, optimizer="SGD", precision=precision
    )
    fast, state = trained(spec)
    plain, plain_state = trained(dataclasses.replace(spec, plain=True))
    assert fast == pytest.approx(plain, abs=1e-3 if precision == "float32" else 0.1)
    assert {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in plain_state.items()}
