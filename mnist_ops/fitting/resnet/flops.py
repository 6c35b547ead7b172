"""Count the FLOPs of a network on one image, in the conventions of fvcore and of the study.

In both a multiply-accumulate is one operation. They differ in batch norm and average pooling.
"""

import warnings
from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import nn


def count_as_fvcore(network: nn.Module, image_shape: tuple[int, ...]) -> int:
    """Count as fvcore: batch norm 2 per normalised element, average pooling 1 per input element."""
    return _count(network, image_shape, {})


def count_as_study(network: nn.Module, image_shape: tuple[int, ...]) -> int:
    """Count as the study, in the convention of the THOP counter.

    Batch norm is 4 per normalised element (subtract, divide, scale, shift), average pooling 1 per
    input element and 1 per output element.
    """
    operators = {
        "aten::batch_norm": _batch_norm_ops,
        "aten::adaptive_avg_pool2d": _average_pool_ops,
    }
    return _count(network, image_shape, operators)


def _count(
    network: nn.Module,
    image_shape: tuple[int, ...],
    operators: dict[str, Callable[..., int]],
) -> int:
    with warnings.catch_warnings():
        # fvcore traces with torch.jit, which newer torch deprecates, on its import and after; the
        # counts are not affected.
        warnings.simplefilter("ignore")
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(network, torch.zeros(1, *image_shape))
        analysis.unsupported_ops_warnings(False)
        for operator, count in operators.items():
            analysis.set_op_handle(operator, count)
        return int(analysis.total())


def _batch_norm_ops(inputs: list[Any], outputs: list[Any]) -> int:
    return 4 * _elements(inputs[0])


def _average_pool_ops(inputs: list[Any], outputs: list[Any]) -> int:
    return _elements(inputs[0]) + _elements(outputs[0])


def _elements(value: Any) -> int:
    return prod(value.type().sizes())
