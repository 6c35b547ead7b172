"""Compute once, on small numbers, what a training computes; oneDNN tells its kernels.

A script for a process of its own, which imports torch alone.
"""

import torch
from torch import Tensor
from torch.nn import functional


def main() -> None:
    """Compute the products and convolutions of a step, as `fitting.fast.fast_conv` does."""
    torch.set_num_threads(1)
    # float16 is of CUDA alone.
    with torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON):
        for dtype in (torch.bfloat16, torch.float32):
            _product(_random(dtype, 128, 576), _random(dtype, 64, 576))
            for channels, size, stride in ((1, 28, 2), (64, 14, 1), (64, 14, 2)):
                _convolution(dtype, channels, size, stride)


def _product(columns: Tensor, weight: Tensor) -> None:
    rows = columns.mm(weight.t())
    rows.t().mm(columns)
    rows.mm(weight)


def _convolution(dtype: torch.dtype, channels: int, size: int, stride: int) -> None:
    maps, weight = (
        _random(dtype, *shape).contiguous(memory_format=torch.channels_last).requires_grad_()
        for shape in ((2, channels, size, size), (64, channels, 3, 3))
    )
    functional.conv2d(maps, weight, None, stride, 1).sum().backward()


def _random(dtype: torch.dtype, *shape: int) -> Tensor:
    return torch.randn(shape).to(dtype)


if __name__ == "__main__":
    main()
