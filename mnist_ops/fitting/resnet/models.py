"""Networks for images of few pixels, and what they cost."""

from dataclasses import dataclass
from functools import cache

import torch
from torch import nn

from mnist_ops.fitting import rng
from mnist_ops.fitting.fast import cropped_kernels
from mnist_ops.fitting.resnet import catalog, flops
from mnist_ops.study.dataset import Dataset


def stock(model: str, dataset: Dataset) -> nn.Module:
    """Return the network called `model` for images of `dataset`, its weights drawn anew."""
    return catalog.named(model).build(dataset.image_shape[0], dataset.n_classes)


def build(model: str, seed: int, dataset: Dataset) -> nn.Module:
    """Build the network called `model` for images of `dataset`, with weights drawn from `seed`.

    The global random state does not change.
    """
    with rng.seeded(seed, torch.device("cpu")):
        return stock(model, dataset)


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


@cache
def complexity(model: str, dataset: Dataset) -> Complexity:
    """Count parameters and operations of `model` on one image of `dataset`."""
    network = build(model, 0, dataset).eval()
    by_fvcore = flops.count_as_fvcore(network, dataset.image_shape)
    by_study = flops.count_as_study(network, dataset.image_shape)
    parameters = cropped_kernels.trainable_parameters(network)
    live = cropped_kernels.trainable_parameters(
        cropped_kernels.rewrite(network, dataset.image_shape)
    )
    return Complexity(parameters, live, flops_fvcore=by_fvcore, flops=by_study)
