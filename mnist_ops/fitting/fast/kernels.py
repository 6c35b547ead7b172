"""Compiled kernels, optional: what a training step does beside its matrix products.

Each passes over memory once where torch's operators pass several times: the update of all weights,
batch norm with what is added to it and ReLU, the gathering of a convolution's windows. Without
them a step took 1.1 times as long (a quiet AMD EPYC, 2026-11-25) and about 1.2 times (a busy Intel
Xeon with AMX, 2026-11-26). Each gives the same bits as torch's operators on one thread, and every
process verifies that before it uses one (`kernel_check.usable`). Where there is no compiler, or
where another torch, compiler or processor rounds differently, torch's operators do the work.
MNIST_OPS_KERNELS=0 turns the kernels off.
"""

import ctypes
import math
from collections.abc import Sequence
from ctypes import c_bool, c_int64, c_void_p

import torch
from torch import Tensor

from mnist_ops.fitting.fast.kernel_library import load

# Channels that the batch norm takes at a time: other numbers of them are left to torch.
BLOCK = 64


class Gradients:
    """Gradients of consecutive stretches of one vector of weights.

    Those in bfloat16 come first; a vector of the weights in bfloat16 is kept for their stretch.
    """

    def __init__(self, gradients: Sequence[Tensor]):
        count = len(gradients)
        self.count = count
        self.gradients = gradients
        self.pointers = (c_void_p * count)(*[g.data_ptr() for g in gradients])
        self.sizes = (c_int64 * count)(*[g.numel() for g in gradients])
        self.wide = (c_bool * count)(*[g.dtype == torch.float32 for g in gradients])


def adam_step(
    gradients: Gradients,
    weights: Tensor,
    moments: tuple[Tensor, Tensor],
    cast: Tensor,
    step: int,
    rate: float,
    betas: tuple[float, float],
    eps: float,
) -> None:
    """Update float32 `weights` as torch's fused Adam does, and fill `cast`.

    `moments` are the running means of the gradients and of their squares.
    """
    mean, square = moments
    _call().adam_step(
        gradients.count,
        gradients.pointers,
        gradients.sizes,
        gradients.wide,
        weights.data_ptr(),
        mean.data_ptr(),
        square.data_ptr(),
        cast.data_ptr(),
        1 - betas[0],
        betas[1],
        1 - betas[1],
        math.sqrt(1 - betas[1] ** step),
        eps,
        rate / (1 - betas[0] ** step),
    )


def sgd_step(
    gradients: Gradients,
    weights: Tensor,
    velocity: Tensor,
    cast: Tensor,
    rate: float,
    momentum: float,
    *,
    first: bool,
) -> None:
    """Update as torch's fused SGD with momentum does; `first` sets the velocity."""
    _call().sgd_step(
        gradients.count,
        gradients.pointers,
        gradients.sizes,
        gradients.wide,
        weights.data_ptr(),
        velocity.data_ptr(),
        cast.data_ptr(),
        momentum,
        rate,
        first,
    )


def norm_forward(
    x: Tensor,
    added: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    running: tuple[Tensor, Tensor],
    momentum: float,
    eps: float,
    *,
    relu: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute batch norm in training, add `added`, and apply ReLU.

    Args:
        x: bfloat16, shape (n, channels, height, width), in channels_last.
        added: the same, or None.
        weight: float32, shape (channels,), a multiple of `BLOCK`; so are those that follow.
        bias: of the batch norm.
        running: mean and variance, updated in place.
        momentum: of the running statistics.
        eps: is added to the variance.
        relu: whether ReLU follows.

    Returns:
        The output, and the batch's mean and inverse deviation, both of shape (channels,).
    """
    y, mean, invstd = torch.empty_like(x), torch.empty_like(weight), torch.empty_like(weight)
    channels = weight.shape[0]
    _call().norm_forward(
        x.data_ptr(),
        None if added is None else added.data_ptr(),
        y.data_ptr(),
        weight.data_ptr(),
        bias.data_ptr(),
        running[0].data_ptr(),
        running[1].data_ptr(),
        mean.data_ptr(),
        invstd.data_ptr(),
        x.numel() // channels,
        channels,
        eps,
        momentum,
        relu,
    )
    return y, mean, invstd


def norm_backward(
    dy: Tensor,
    y: Tensor,
    x: Tensor,
    weight: Tensor,
    mean: Tensor,
    invstd: Tensor,
    *,
    relu: bool,
    added: bool,
) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
    """Compute the gradients of x, of what was `added`, of weight and of bias."""
    dx, dweight, dbias = torch.empty_like(x), torch.empty_like(weight), torch.empty_like(weight)
    dadded = torch.empty_like(x) if added else None
    channels = weight.shape[0]
    _call().norm_backward(
        dy.data_ptr(),
        y.data_ptr(),
        x.data_ptr(),
        dx.data_ptr(),
        None if dadded is None else dadded.data_ptr(),
        weight.data_ptr(),
        mean.data_ptr(),
        invstd.data_ptr(),
        dweight.data_ptr(),
        dbias.data_ptr(),
        x.numel() // channels,
        channels,
        relu,
    )
    return dx, dadded, dweight, dbias


def gather(
    x: Tensor,
    windows: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    before: tuple[int, int],
    *,
    backwards: bool,
) -> Tensor:
    """Gather the windows of `x`, zero outside of it, one a row of taps * channels.

    Args:
        x: shape (n, height, width, channels), contiguous, of any type.
        windows: how many, down and across; so are those that follow.
        kernel: taps.
        stride: pixels from one window to the next.
        dilation: pixels from one tap to the next.
        before: zero pixels before the first.
        backwards: whether a window's last tap comes first.
    """
    n, height, width, channels = x.shape
    columns = x.new_empty(n * windows[0] * windows[1], kernel[0] * kernel[1] * channels)
    _call().gather(
        x.data_ptr(),
        columns.data_ptr(),
        n,
        height,
        width,
        channels * x.element_size(),
        *windows,
        *kernel,
        *stride,
        *dilation,
        *before,
        backwards,
    )
    return columns


def _call() -> ctypes.CDLL:
    library = load()
    assert library is not None, "ask usable() first"
    return library
