"""Networks for images of few pixels, and what they cost."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import nn

from mnist_ops.core import keys
from mnist_ops.core.errors import InvalidInput
from mnist_ops.fitting import rng
from mnist_ops.fitting.fast import cropped_kernels
from mnist_ops.fitting.resnet import flops
from mnist_ops.study.dataset import Dataset
from mnist_ops.study.model import with_code
from mnist_ops.study.specs import ResNetSpec


def stock(spec: ResNetSpec, data: Dataset | None = None) -> nn.Module:
    """Return the network of `spec`, its weights drawn anew.

    Args:
        spec: of a training.
        data: the form of its images; None takes the data set that `spec` names.

    Raises:
        InvalidInput: it is not known here, or it does not fit the images of its data set.
        OtherCode: its code is not here as the spec has it.
    """
    made, data = with_code(spec.model, spec.code), data or spec.data
    try:
        network = made.build(data.image_shape, data.n_classes, **dict(spec.arguments))
        if not isinstance(network, nn.Module):
            raise TypeError(f"it returns {type(network).__name__}, no torch.nn.Module")
    except Exception as error:
        raise _unfit(spec, data, error) from error
    return network


def build(spec: ResNetSpec, data: Dataset | None = None) -> nn.Module:
    """Build the network of `spec`, with weights drawn from its seed; takes and raises as `stock`.

    The global random state does not change.
    """
    with rng.seeded(spec.seed, torch.device("cpu")):
        return stock(spec, data)


def with_channels(pixels: torch.Tensor) -> torch.Tensor:
    """Return images of shape (n, channels, height, width); grey ones may come without channels."""
    return pixels.unsqueeze(1) if pixels.ndim == 3 else pixels


@dataclass(frozen=True)
class Complexity:
    """What one image costs a network, in evaluation.

    Attributes:
        parameters: trainable weights.
        live_parameters: those that any image can change: the rest are kernel taps that only ever
            see padding (see `cropped_kernels`).
        flops_fvcore: in the convention of fvcore, see `flops.count_as_fvcore`.
        flops: in the convention of the study, see `flops.count_as_study`.
    """

    parameters: int
    live_parameters: int
    flops_fvcore: int
    flops: int

    @property
    def metrics(self) -> dict[str, float]:
        """The counts as metrics, under the names that runs carry."""
        counts = {
            keys.FLOPS: self.flops,
            keys.FLOPS_FVCORE: self.flops_fvcore,
            keys.PARAMETERS: self.parameters,
            keys.LIVE_PARAMETERS: self.live_parameters,
        }
        return {name: count for name, count in counts.items() if count}


def complexity(spec: ResNetSpec) -> Complexity:
    """Count parameters and operations of the network of `spec` on one image; raises as `stock`."""
    return _complexity(spec.model, spec.code, spec.arguments, spec.data)


@cache
def _complexity(
    model: str, code: str, arguments: tuple[tuple[str, Any], ...], dataset: Dataset
) -> Complexity:
    spec = ResNetSpec(
        study="complexity",
        dataset=dataset.name,
        data_digest=dataset.digest if dataset.content else "",
        model=model,
        code=code,
        arguments=arguments,
        batch_size=2,
        optimizer="SGD",
        learning_rate=1,
        epochs=1,
    )
    network = build(spec).eval()
    _check_fit(network, spec)
    try:
        by_fvcore = flops.count_as_fvcore(network, dataset.image_shape)
        by_study = flops.count_as_study(network, dataset.image_shape)
    except Exception:
        if not code:
            raise
        # A user's network that cannot be traced cannot be counted.
        by_fvcore = by_study = 0
    parameters = cropped_kernels.trainable_parameters(network)
    live = cropped_kernels.trainable_parameters(
        cropped_kernels.rewrite(network, dataset.image_shape)
    )
    return Complexity(parameters, live, flops_fvcore=by_fvcore, flops=by_study)


def _check_fit(network: nn.Module, spec: ResNetSpec) -> None:
    """Raise `InvalidInput` unless `network` gives each image a score for each class."""
    data = spec.data
    try:
        with torch.no_grad(), rng.seeded(0, torch.device("cpu")):
            found = tuple(network(torch.zeros(2, *data.image_shape)).shape)
        if found != (2, data.n_classes):
            raise ValueError(f"two images give {found}, not {(2, data.n_classes)} scores")
        if not any(weight.requires_grad for weight in network.parameters()):
            raise ValueError("it has no weights to train")
    except Exception as error:
        raise _unfit(spec, data, error) from error


def _unfit(spec: ResNetSpec, data: Dataset, error: Exception) -> InvalidInput:
    shape = "x".join(map(str, data.image_shape))
    given = ", ".join(f"{name}={value!r}" for name, value in spec.arguments)
    reason = " ".join(str(error).split())
    return InvalidInput(
        f"model {spec.model}({given}) does not fit images of {shape} (channels, height, width) and "
        f"{data.n_classes} classes of {data.name}: {type(error).__name__}: {reason}"
    )
