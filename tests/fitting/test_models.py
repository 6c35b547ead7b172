"""Networks and their complexity, counted from the code."""

import pytest
import torch
from specs import network_spec

from mnist_ops.data.catalog import DATASETS
from mnist_ops.fitting.resnet import models
from mnist_ops.fitting.resnet.catalog import MODELS

DIGITS = DATASETS["MNIST"]


@pytest.mark.parametrize(
    ("model", "parameters", "fvcore", "study", "published"),
    [
        ("resnet18", 11_175_370, 33_097_472, 33_184_000, ("11.18M", "33.18M")),
        ("resnet50", 23_522_250, 78_353_152, 78_755_072, ("23.52M", "78.76M")),
    ],
)
def test_complexity(
    model: str, parameters: int, fvcore: int, study: int, published: tuple[str, str]
) -> None:
    cost = models.complexity(network_spec(model))
    assert (cost.parameters, cost.flops_fvcore, cost.flops) == (parameters, fvcore, study)
    assert MODELS[model].flops == study
    assert (f"{cost.parameters / 1e6:.2f}M", f"{cost.flops / 1e6:.2f}M") == published


@pytest.mark.parametrize(("model", "live"), [("resnet18", 4_228_554), ("resnet50", 18_017_226)])
def test_live_parameters(model: str, live: int) -> None:
    assert models.complexity(network_spec(model)).live_parameters == live


def test_relative_complexity_is_the_published_one() -> None:
    ratio = (
        models.complexity(network_spec("resnet50")).flops
        / models.complexity(network_spec("resnet18")).flops
    )
    assert f"{ratio:.2f}" == "2.37"


def test_study_convention_by_hand() -> None:
    """Batch norm 4 an element, pooling 1 an input and 1 an output element, the rest as fvcore."""
    norm_elements = 12_544 + 4 * 3_136 + 5 * 2_048 + 5 * 1_024 + 5 * 512
    cost = models.complexity(network_spec("resnet18"))
    assert cost.flops - cost.flops_fvcore == 2 * norm_elements + 512


def test_seed_decides_the_weights_and_leaves_the_global_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = (models.build(network_spec("resnet18", seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(first.conv1.weight, again.conv1.weight)
    assert not torch.equal(first.conv1.weight, other.conv1.weight)


@pytest.mark.parametrize("model", MODELS)
def test_network_takes_one_channel_images(model: str) -> None:
    network = models.build(network_spec(model, 0)).eval()
    assert network(torch.zeros(2, *DIGITS.image_shape)).shape == (2, 10)
