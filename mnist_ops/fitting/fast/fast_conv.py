"""Convolutions of small maps as matrix products.

A convolution multiplies each output pixel's window, a row of `taps * in` numbers, with the
weights. With all windows gathered into a matrix, one row a pixel, it is one matrix product:

    y  = columns(x) @ w^T      (pixels, taps * in) @ (taps * in, out)
    dw = dy^T @ columns(x)     the columns are kept from the forward pass
    dx = columns(dy) @ w       taps in reverse order, where windows lie one pixel apart

Gathering copies each pixel once for each tap that sees it. That costs little where a pixel's
channels lie side by side in memory (channels_last), so that each copy is one long run, and where
the maps are small. It buys torch's matrix product in place of its convolution, whose backward
passes stay far from the processor's limit on maps of a few pixels. The same products are summed
in another order, so results differ from torch's convolution by rounding alone.

Where this is not faster (`_as_product` says where), torch's own convolution is used.
"""

from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mnist_ops.fitting.fast import kernel_check, kernels

Pair = tuple[int, int]


@dataclass(frozen=True)
class Geometry:
    """Where a convolution's windows lie; each pair is (down, across).

    Attributes:
        size: pixels of the input map.
        kernel: taps.
        stride: pixels from one window to the next.
        dilation: pixels from one tap to the next.
        before: zero pixels before the map's first one; a negative number leaves pixels out.
        after: the same behind its last one.
    """

    size: Pair
    kernel: Pair
    stride: Pair
    dilation: Pair
    before: Pair
    after: Pair

    @cached_property
    def padded(self) -> Pair:
        """Pixels of the padded map."""
        height, width = (
            before + size + after
            for before, size, after in zip(self.before, self.size, self.after, strict=True)
        )
        return height, width

    @cached_property
    def windows(self) -> Pair:
        """Pixels of the output map."""
        down, across = (
            (padded - dilation * (kernel - 1) - 1) // stride + 1
            for padded, dilation, kernel, stride in zip(
                self.padded, self.dilation, self.kernel, self.stride, strict=True
            )
        )
        return down, across

    @cached_property
    def padding(self) -> tuple[int, int, int, int]:
        """Zero pixels as `torch.nn.functional.pad` takes them: (left, right, top, bottom)."""
        return self.before[1], self.after[1], self.before[0], self.after[0]

    @cached_property
    def of_gradient(self) -> "Geometry":
        """Return the windows on the output's gradient that give the input's, at stride 1."""
        down, across = (d * (k - 1) for d, k in zip(self.dilation, self.kernel, strict=True))
        return Geometry(
            size=self.windows,
            kernel=self.kernel,
            stride=(1, 1),
            dilation=self.dilation,
            before=(down - self.before[0], across - self.before[1]),
            after=(down - self.after[0], across - self.after[1]),
        )


def conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, groups: int = 1
) -> Tensor:
    """Convolve `x`, in its own type.

    Args:
        x: shape (n, in, *geometry.size), best in channels_last.
        weight: shape (out, *geometry.kernel, in // groups), of any floating type.
        bias: shape (out,), or None.
        geometry: the map, and the windows on it.
        groups: as torch's.

    Returns:
        Shape (n, out, *geometry.windows), in channels_last.
    """
    if groups == 1 and _as_product(x, weight, geometry):
        y = _Product.apply(x, weight, geometry)
        return y if bias is None else y + bias.to(y.dtype)[:, None, None]
    padding = geometry.before
    if padding != geometry.after or min(padding) < 0:
        x, padding = functional.pad(x, geometry.padding), (0, 0)
    # Cast before the dimensions are turned round: a cast after it forgets the turn where there is
    # one channel, and then all that follows is computed in the slower layout.
    taps = weight.to(x.dtype).permute(0, 3, 1, 2)
    bias = None if bias is None else bias.to(x.dtype)
    return functional.conv2d(x, taps, bias, geometry.stride, padding, geometry.dilation, groups)


def _as_product(x: Tensor, weight: Tensor, geometry: Geometry) -> bool:
    """Return whether the matrix product is the faster form.

    It is a fixed rule, so that a seed gives the same bits.

    Found by measuring both on the layers of ResNet-18 and 50. Fewer than 16 channels make the
    runs that are copied short; from 64 windows on the columns outgrow the cache. Otherwise the
    product wins in bfloat16, where the processor computes in it. In float32 torch multiplies with
    MKL, which uses half of what some processors can do: there it wins on the smallest maps only.
    """
    if x.device.type != "cpu" or weight.shape[-1] < 16:
        return False
    windows = geometry.windows[0] * geometry.windows[1]
    return windows <= (64 if x.dtype == torch.bfloat16 and _computes_in_bfloat16() else 4)


@cache
def _computes_in_bfloat16() -> bool:
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
        columns = _columns(x.permute(0, 2, 3, 1), geometry)
        matrix = weight.to(x.dtype).view(weight.shape[0], -1)
        ctx.save_for_backward(columns, matrix)
        ctx.geometry, ctx.weight_type = geometry, weight.dtype
        return _as_images(columns.mm(matrix.t()).view(x.shape[0], *geometry.windows, -1))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, None]:
        columns, matrix = ctx.saved_tensors
        geometry: Geometry = ctx.geometry
        dy = gradients[0].permute(0, 2, 3, 1)
        rows = dy.reshape(-1, dy.shape[-1])
        dw = rows.t().mm(columns).to(ctx.weight_type)
        dx = None
        if ctx.needs_input_grad[0]:
            dx = _as_images(_input_gradient(dy, rows, matrix, geometry))
        return dx, dw.view(dw.shape[0], *geometry.kernel, -1), None


def _as_images(x: Tensor) -> Tensor:
    """View (n, height, width, channels) as (n, channels, height, width)."""
    n, height, width, channels = x.shape
    if height == width == 1:
        # On one pixel torch's other layers give strides (channels, 1, 1, 1), and batch norm's
        # backward pass takes 20 times as long on a mixture.
        return x.reshape(n, channels, 1, 1)
    return x.permute(0, 3, 1, 2)


def _columns(x: Tensor, geometry: Geometry, *, reverse: bool = False) -> Tensor:
    """Gather the windows of `x` as rows of taps * channels; `reverse` puts the taps last to first.

    Args:
        x: shape (n, *geometry.size, channels).
        geometry: the windows.
        reverse: the order of a window's taps.
    """
    alone = geometry.kernel == geometry.stride == (1, 1)
    if not alone and x.device.type == "cpu" and kernel_check.usable():
        return kernels.gather(
            x.contiguous(),
            geometry.windows,
            geometry.kernel,
            geometry.stride,
            geometry.dilation,
            geometry.before,
            backwards=reverse,
        )
    if any(geometry.padding):
        x = functional.pad(x, (0, 0, *geometry.padding))
    pixels = x.reshape(-1, x.shape[-1])
    if alone:
        return pixels
    n, windows = x.shape[0], geometry.windows[0] * geometry.windows[1]
    if geometry.kernel != geometry.padded or reverse:
        # index_select copies rows at twice the speed of a strided view's reshape.
        pixels = pixels.index_select(0, _tap_pixels(geometry, n, reverse))
    return pixels.view(n * windows, -1)


@lru_cache(maxsize=1024)
def _tap_pixels(geometry: Geometry, n: int, reverse: bool) -> Tensor:
    """Index the pixel under each tap of each window, in `n` padded maps in a row."""
    # Kept beyond the evaluation that may be the first to ask for it.
    with torch.inference_mode(False):
        down, across = (
            torch.arange(geometry.windows[side])[:, None] * geometry.stride[side]
            + torch.arange(geometry.kernel[side]) * geometry.dilation[side]
            for side in (0, 1)
        )
        height, width = geometry.padded
        in_map = down[:, None, :, None] * width + across[None, :, None, :]
        if reverse:
            in_map = in_map.flip(2, 3)
        return (torch.arange(n)[:, None] * (height * width) + in_map.flatten()).flatten()


def _input_gradient(dy: Tensor, rows: Tensor, matrix: Tensor, geometry: Geometry) -> Tensor:
    """Compute the input's gradient, shape (n, *geometry.size, in), from the output's.

    Args:
        dy: the output's gradient, shape (n, *geometry.windows, out).
        rows: the same as a matrix (pixels, out).
        matrix: the weights, shape (out, taps * in).
        geometry: of the convolution.
    """
    n, out = dy.shape[0], matrix.shape[0]
    taps = matrix.view(out, *geometry.kernel, -1)
    unpad = (0, 0, *(-zeros for zeros in geometry.padding))
    if geometry.kernel == geometry.padded:
        # One window on the whole map: no two gradients fall on the same pixel.
        dx = rows.mm(matrix).view(n, *geometry.padded, -1)
    elif geometry.stride == (1, 1):
        by_tap = taps.permute(1, 2, 0, 3).reshape(-1, taps.shape[-1])
        reverse = geometry.of_gradient
        return _columns(dy, reverse, reverse=True).mm(by_tap).view(n, *geometry.size, -1)
    elif geometry.kernel == (1, 1):
        dx = dy.new_zeros(n, *geometry.padded, taps.shape[-1])
        seen = rows.mm(matrix).view(*dy.shape[:-1], -1)
        dx[:, :: geometry.stride[0], :: geometry.stride[1]] = seen
    else:
        # Windows that overlap some pixels apart: torch's own.
        dx = torch.ops.aten.convolution_backward(
            dy.permute(0, 3, 1, 2),
            dy.new_empty(n, *geometry.padded, taps.shape[-1]).permute(0, 3, 1, 2),
            taps.permute(0, 3, 1, 2),
            None,
            geometry.stride,
            (0, 0),
            geometry.dilation,
            False,
            (0, 0),
            1,
            (True, False, False),
        )[0].permute(0, 2, 3, 1)
    return functional.pad(dx, unpad) if any(geometry.padding) else dx
