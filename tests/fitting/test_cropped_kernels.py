"""The rewritten network: the same function, the same training, the same file."""

import itertools
from collections.abc import Callable, Iterator

import pytest
import torch
from data_fixtures import fixture_images
from specs import network_spec
from torch import Tensor, nn
from user_models import Transformer, mobilenet, vgg

from mnist_ops.data.catalog import DATASETS
from mnist_ops.fitting.determinism import reproducible
from mnist_ops.fitting.fast.cropped_kernels import CroppedConv2d, UnexpectedSize, rewrite, used_span
from mnist_ops.fitting.resnet import models
from mnist_ops.fitting.resnet.catalog import MODELS

DIGITS = DATASETS["MNIST"]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As workers compute; and threads of one process that wait for each other wait long."""
    with reproducible(threads=1):
        yield


def network_pair(model: str, seed: int = 0) -> tuple[nn.Module, nn.Module]:
    """The original network and the rewritten one, with the same weights."""
    return models.build(network_spec(model, seed)), rewrite(
        models.build(network_spec(model, seed)), DIGITS.image_shape
    )


def batch(n: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Real images, normalised, and their labels."""
    images = fixture_images("MNIST")
    pixels = torch.from_numpy(images.images[:n, None]).to(dtype)
    return (pixels / 255 - 0.13) / 0.31, torch.from_numpy(images.labels[:n])


def loss_of(network: nn.Module, n: int, dtype: torch.dtype) -> Tensor:
    pixels, labels = batch(n, dtype)
    return nn.functional.cross_entropy(network(pixels), labels)


def original_gradient(layer: nn.Module) -> Tensor:
    """The weight's gradient in torch's shape; NaN where the layer has no such weight."""
    assert layer.weight.grad is not None
    if not isinstance(layer, CroppedConv2d):
        return layer.weight.grad
    gradient = torch.full(layer.full_shape, torch.nan, dtype=layer.weight.dtype)
    gradient[layer.used] = layer.weight.grad.permute(0, 3, 1, 2)
    return gradient


def test_used_taps_by_hand() -> None:
    assert used_span(1, kernel=3, stride=1, padding=(1, 1), dilation=1) == (1, 2)
    assert used_span(2, kernel=3, stride=1, padding=(1, 1), dilation=1) == (0, 3)
    assert used_span(2, kernel=3, stride=2, padding=(1, 1), dilation=1) == (1, 3)
    assert used_span(28, kernel=7, stride=2, padding=(3, 3), dilation=1) == (0, 7)
    assert used_span(1, kernel=5, stride=1, padding=(4, 4), dilation=2) == (2, 3)


GEOMETRIES = [
    (size, kernel, stride, padding, dilation)
    for size, kernel, stride, padding, dilation in itertools.product(
        (1, 2, 3, 5), (1, 2, 3), (1, 2, 3), (0, 1, 2), (1, 2)
    )
    if size + 2 * padding > dilation * (kernel - 1)
]


@pytest.mark.parametrize("channels", [2, 16], ids=["torch's form", "matrix product"])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_convolution_is_torchs_for_every_geometry(
    geometry: tuple[int, int, int, int, int], channels: int
) -> None:
    size, kernel, stride, padding, dilation = geometry
    torch.manual_seed(0)
    # A side that is always plain keeps the two sides from being taken for each other.
    original = nn.Conv2d(
        channels, 3, (kernel, 2), (stride, 1), (padding, 1), (dilation, 1)
    ).double()
    cropped = CroppedConv2d(original, (size, 2))
    first, second = (
        torch.randn(2, channels, size, 2, dtype=torch.float64).requires_grad_() for _ in range(2)
    )
    second.data.copy_(first.data)
    expected, got = original(first), cropped(second)
    assert torch.allclose(got, expected, rtol=0, atol=1e-12)
    direction = torch.randn_like(expected)
    expected.backward(direction)
    original_bias = original.bias.grad.clone()  # the layers share the bias
    original.bias.grad = None
    got.backward(direction)
    assert torch.allclose(second.grad, first.grad, rtol=0, atol=1e-12)
    assert torch.allclose(cropped.bias.grad, original_bias, rtol=0, atol=1e-12)
    gradient = original_gradient(cropped)
    unused = gradient.isnan()
    assert torch.all(original.weight.grad[unused] == 0)
    assert torch.allclose(gradient[~unused], original.weight.grad[~unused], rtol=0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("n", [16, 32])
@pytest.mark.parametrize("model", MODELS)
def test_outputs_and_gradients_are_the_original_networks(model: str, n: int) -> None:
    """On one thread, as workers compute.

    On two, torch's own channels_last layout, in which ours is computed too, is already 1.0e-10 from
    its contiguous one in the gradients of the original ResNet-50 at batch 16, of which the largest
    is about 100; on one it is 1.5e-11.
    """
    original, fast = (network.double().train() for network in network_pair(model))
    losses = [loss_of(network, n, torch.float64) for network in (original, fast)]
    assert abs(losses[0] - losses[1]) < 1e-10
    for loss in losses:
        loss.backward()
    original_layers = dict(original.named_modules())
    worst = 0.0
    for name, layer in fast.named_modules():
        if isinstance(getattr(layer, "weight", None), nn.Parameter):
            expected, got = original_gradient(original_layers[name]), original_gradient(layer)
            unused = got.isnan()
            assert torch.all(expected[unused] == 0), name
            worst = max(worst, float((expected - got)[~unused].abs().max()))
    print(f"largest difference of a gradient: {worst:.1e}")
    assert worst < 1e-10


def train(network: nn.Module, steps: int, optimizer: str, dtype: torch.dtype) -> list[float]:
    """The losses of `steps` steps at the lower of the study's learning rates."""
    network.to(dtype).train()
    if optimizer == "SGD":
        step = torch.optim.SGD(network.parameters(), lr=0.0001, momentum=0.9)
    else:
        step = torch.optim.Adam(network.parameters(), lr=0.0001)
    pixels, labels = batch(600, dtype)
    order = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(steps):
        drawn = torch.randint(len(labels), (16,), generator=order)
        loss = nn.functional.cross_entropy(network(pixels[drawn]), labels[drawn])
        step.zero_grad()
        loss.backward()
        step.step()
        losses.append(loss.item())
    return losses


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_training_is_the_original_networks(optimizer: str) -> None:
    original, fast = network_pair("resnet18")
    start = {name: value.clone() for name, value in original.state_dict().items()}
    losses = [train(network, 5, optimizer, torch.float64) for network in (original, fast)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-8)
    saved = fast.state_dict()
    for name, layer in fast.named_modules():
        if isinstance(layer, CroppedConv2d):
            for weights in (saved[f"{name}.weight"], original.get_submodule(name).weight.detach()):
                unused = torch.ones_like(weights, dtype=torch.bool)
                unused[layer.used] = False
                assert torch.equal(weights[unused], start[f"{name}.weight"][unused].double())


@pytest.mark.slow
def test_float32_losses_differ_by_rounding() -> None:
    """Training amplifies rounding; what another order of torch's own sums does is the measure."""
    original, fast = network_pair("resnet18")
    other = models.build(network_spec("resnet18", 0)).to(memory_format=torch.channels_last)
    plain, ours, reordered = (
        torch.tensor(train(network, 200, "SGD", torch.float32))
        for network in (original, fast, other)
    )
    ours_off, torch_off = (plain - ours).abs(), (plain - reordered).abs()
    assert ours_off[:3].max() < 1e-4
    for steps in (50, 200):
        ours_max, torch_max = ours_off[:steps].max(), torch_off[:steps].max()
        print(f"largest difference in {steps} steps: {ours_max:.2e}, torch's {torch_max:.2e}")
        assert ours_off[:steps].mean() < 5 * torch_off[:steps].mean()


def test_files_are_exchanged_with_the_original_network() -> None:
    original, fast = network_pair("resnet18", seed=1)
    assert {k: v.shape for k, v in fast.state_dict().items()} == {
        k: v.shape for k, v in original.state_dict().items()
    }
    train(fast, 2, "Adam", torch.float32)
    pixels, _ = batch(8)
    original.load_state_dict(fast.state_dict())
    with torch.no_grad():
        assert torch.allclose(original.eval()(pixels), fast.eval()(pixels), atol=1e-5)
    other_original, other = network_pair("resnet18", seed=2)
    other.load_state_dict(original.state_dict())
    for name, value in original.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
    wrong = other_original.state_dict() | {"conv1.weight": torch.zeros(64, 1, 3, 3)}
    with pytest.raises(RuntimeError, match=r"size mismatch for conv1\.weight"):
        other.load_state_dict(wrong)


@pytest.mark.slow
@pytest.mark.parametrize("build", [vgg, mobilenet, Transformer])
def test_a_users_model_trains_unchanged(build: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    original = build().double().train()
    torch.manual_seed(0)
    fast = rewrite(build().double(), DIGITS.image_shape).train()
    losses = [train(network, 3, "SGD", torch.float64) for network in (original, fast)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-8)
    original.load_state_dict(fast.state_dict())
    with torch.autocast("cpu", torch.bfloat16):
        loss = loss_of(fast.float(), 8, torch.float32)
    loss.backward()
    assert torch.isfinite(loss)


def test_bfloat16_is_as_exact_as_autocast_of_the_original_network() -> None:
    gradients = []
    for network, mixed in zip(
        (models.build(network_spec("resnet18", 0)), *network_pair("resnet18")),
        (False, True, True),
        strict=True,
    ):
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            loss = loss_of(network.train(), 32, torch.float32)
        loss.backward()
        gradients.append(original_gradient(network.layer3[0].conv1))
    exact, original, fast = gradients
    assert fast.dtype == torch.float32
    assert (fast - exact).norm() < 1.2 * (original - exact).norm()


class TwoSizes(nn.Module):
    """Layers that must stay as they are, and one that need not."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Conv2d(1, 1, 3, padding=1)
        self.reflected = nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect")
        self.tied = nn.Conv2d(1, 1, 3, padding=1)
        self.tied_too = nn.Conv2d(1, 1, 3, padding=1)
        self.tied_too.weight = self.tied.weight
        self.unused = nn.Conv2d(1, 1, 3)
        self.plain = nn.Conv2d(1, 1, 3, padding="same")

    def forward(self, x: Tensor) -> Tensor:
        x = self.shared(self.reflected(self.shared(x)[..., ::2, ::2]))
        return self.plain(self.tied_too(self.tied(x)))


def test_only_what_is_understood_is_rewritten() -> None:
    network = TwoSizes()
    modes = [module.training for module in network.eval().requires_grad_(False).modules()]
    rewrite(network, DIGITS.image_shape)
    kinds = {name: type(module) for name, module in network.named_children()}
    assert kinds.pop("plain") is CroppedConv2d
    assert set(kinds.values()) == {nn.Conv2d}
    assert not network.plain.weight.requires_grad
    assert [module.training for module in network.modules()] == modes


def test_another_image_size_is_refused_with_advice() -> None:
    network = rewrite(models.build(network_spec("resnet18", 0)), DIGITS.image_shape).eval()
    with pytest.raises(UnexpectedSize, match=r"map of \(32, 32\).*rewritten for \(28, 28\)"):
        network(torch.zeros(1, 1, 32, 32))


def test_evaluation_first_does_not_hinder_training() -> None:
    network = rewrite(models.build(network_spec("resnet18", 3)), DIGITS.image_shape)
    pixels, labels = batch(12)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        network.eval()(pixels)
    with torch.autocast("cpu", torch.bfloat16):
        loss = nn.functional.cross_entropy(network.train()(pixels), labels)
    loss.backward()
    assert "1x1 of 3x3 taps" in repr(network)
