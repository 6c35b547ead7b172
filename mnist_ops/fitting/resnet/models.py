"""Networks for images of few pixels, and what they cost."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any

import torch
from torch import nn

from mnist_ops.fitting import rng
from mnist_ops.fitting.fast import cropped_kernels
from mnist_ops.fitting.resnet import catalog
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
        flops_fvcore: as fvcore counts: a multiply-accumulate is one operation, batch norm 2 a
            normalised element, average pooling 1 an input element.
        flops: the convention behind the study's figures, that of the THOP counter: the same
            multiply-accumulates, batch norm 4 a normalised element (subtract, divide, scale,
            shift), average pooling 1 an input element and 1 an output element.
    """

    parameters: int
    live_parameters: int
    flops_fvcore: int
    flops: int


@cache
def complexity(model: str, dataset: Dataset) -> Complexity:
    """Count parameters and operations of `model` on one image of `dataset`."""
    network = build(model, 0, dataset).eval()
    by_fvcore = _count(network, dataset.image_shape)
    by_study = _count(
        network,
        dataset.image_shape,
        {"aten::batch_norm": _batch_norm_ops, "aten::adaptive_avg_pool2d": _average_pool_ops},
    )
    parameters = cropped_kernels.trainable_parameters(network)
    live = cropped_kernels.trainable_parameters(
        cropped_kernels.rewrite(network, dataset.image_shape)
    )
    return Complexity(parameters, live, flops_fvcore=by_fvcore, flops=by_study)


def _count(
    network: nn.Module,
    image_shape: tuple[int, ...],
    handles: dict[str, Callable[..., int]] | None = None,
) -> int:
    with warnings.catch_warnings():
        # fvcore traces with torch.jit, which newer torch deprecates, on its import and after; the
        # counts are not affected.
        warnings.simplefilter("ignore")
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(network, torch.zeros(1, *image_shape))
        analysis.unsupported_ops_warnings(False)
        for operator, handle in (handles or {}).items():
            analysis.set_op_handle(operator, handle)
        return int(analysis.total())


def _batch_norm_ops(inputs: list[Any], outputs: list[Any]) -> int:
    return 4 * _elements(inputs[0])


def _average_pool_ops(inputs: list[Any], outputs: list[Any]) -> int:
    return _elements(inputs[0]) + _elements(outputs[0])


def _elements(value: Any) -> int:
    return prod(value.type().sizes())
