"""Crop convolution kernels: leave out the weights that only ever meet padding.

On a small map much of a padded kernel never meets the map. A 3x3 kernel with padding 1 on a map
of one pixel has eight taps (kernel weights) that multiply zeros for every image. Along a side of
`size` pixels, tap `t` of window `o` lies on pixel

    o * stride - padding + t * dilation,

and it is *used* if that is one of the pixels 0 to `size` - 1 for at least one window.

**The same function.** An unused tap's weight is multiplied by padding, that is by zero, for all
images and all windows. Leaving it out leaves out zeros from sums.

**The same training.** The loss does not depend on unused weights, so their gradient is exactly
zero. SGD with momentum m updates v <- m*v + g, w <- w - lr*v: from v = 0 and g = 0 forever, w keeps
its bits. Adam updates its two means likewise and moves w by lr * 0 / (sqrt(0) + eps) = 0. So a
training of the used weights alone is that of the original network, and unused weights end as they
began. Weight decay would move them: a training that has it is of whole kernels (see `step`).

**The same file.** A rewritten network's `state_dict` has the original network's names and shapes,
unused taps included with the values that they began with, and it loads either's.

Used taps of a side need not be neighbours (stride 2 on one pixel can skip some): the span from the
first to the last is kept, which is then more than needed but right. Only what is found by watching
one image pass is rewritten: a plain `Conv2d` with zero padding that is called with maps of one
size. Everything else stays as it is. How the kept taps are computed is `fast_conv`'s matter.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mnist_ops.core.errors import MnistOpsError
from mnist_ops.fitting.fast import fast_conv
from mnist_ops.fitting.fast.fast_conv import Geometry, Pair


class UnexpectedSize(MnistOpsError):
    """A rewritten network met a map of another size than that it was rewritten for."""


def used_span(size: int, kernel: int, stride: int, padding: Pair, dilation: int) -> tuple[int, int]:
    """Return the first used tap along one side, and the one behind the last.

    Args:
        size: pixels of the map along the side.
        kernel: taps along the side.
        stride: pixels from one window to the next.
        padding: zero pixels before and after the map.
        dilation: pixels from one tap to the next.

    Returns:
        The bounds; (0, 1) where every tap is unused, as a kernel has at least one.
    """
    windows = _windows(size, kernel, stride, padding, dilation)
    used = [
        tap
        for tap in range(kernel)
        if any(0 <= o * stride - padding[0] + tap * dilation < size for o in range(windows))
    ]
    return (used[0], used[-1] + 1) if used else (0, 1)


def rewrite(network: nn.Module, image_shape: tuple[int, ...]) -> nn.Module:
    """Replace, in `network`, each convolution that can be by a `CroppedConv2d`.

    Args:
        network: in any mode, with parameters; changed in place.
        image_shape: of one image, without the batch: the only shape it will take from then on.

    Returns:
        The network.
    """
    sizes = _map_sizes(network, image_shape)
    replaced = {
        conv: CroppedConv2d(conv, size) for conv, size in sizes.items() if _is_plain(conv, network)
    }
    for module in list(network.modules()):
        for name, child in module.named_children():
            if child in replaced:
                setattr(module, name, replaced[child])
    return network


def trainable_parameters(network: nn.Module) -> int:
    """Count the weights that are trained; after `rewrite`, the used ones."""
    return sum(weight.numel() for weight in network.parameters() if weight.requires_grad)


class CroppedConv2d(nn.Module):
    """A `Conv2d` with the taps alone that are used on maps of one size.

    Attributes:
        weight: the used taps, shape (out, height, width, in // groups): the order in memory in
            which a matrix product wants them.
        bias: shape (out,), or None.
        full_shape: of the original weights: (out, in // groups, height, width).
        full_weight: weights of that shape, valid for unused taps alone; None where all are used.
        cast_weight: `weight` in the type that autocast computes in, kept up to date by
            `flat_weights`; None where it is cast at every use.
    """

    full_weight: Tensor | None
    cast_weight: Tensor | None = None

    def __init__(self, conv: nn.Conv2d, size: Pair):
        """Copy the used taps of `conv`.

        Args:
            conv: with zero padding.
            size: height and width of its input maps.
        """
        super().__init__()
        padding = _padding(conv)
        spans = [
            used_span(size[i], conv.kernel_size[i], conv.stride[i], padding[i], conv.dilation[i])
            for i in (0, 1)
        ]
        self.used = (..., slice(*spans[0]), slice(*spans[1]))
        self.groups = conv.groups
        kernel = [stop - start for start, stop in spans]
        before = [padding[i][0] - conv.dilation[i] * spans[i][0] for i in (0, 1)]
        # The map ends where the last window does: pixels behind it are seen by none.
        after = [
            (
                _windows(size[i], conv.kernel_size[i], conv.stride[i], padding[i], conv.dilation[i])
                - 1
            )
            * conv.stride[i]
            + conv.dilation[i] * (kernel[i] - 1)
            + 1
            - before[i]
            - size[i]
            for i in (0, 1)
        ]
        self.geometry = Geometry(
            size=size,
            kernel=_pair(kernel),
            stride=_pair(conv.stride),
            dilation=_pair(conv.dilation),
            before=_pair(before),
            after=_pair(after),
        )
        full = conv.weight.detach()
        self.full_shape = full.shape
        all_used = self.geometry.kernel == conv.kernel_size
        self.register_buffer("full_weight", None if all_used else full.clone(), persistent=False)
        self.weight = nn.Parameter(self._used_part(full), conv.weight.requires_grad)
        self.bias = conv.bias
        self.training = conv.training

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of `x`, shape (n, in, height, width), in autocast's type."""
        if x.shape[2:] != self.geometry.size:
            raise UnexpectedSize(
                f"a map of {tuple(x.shape[2:])} pixels came to a convolution that was rewritten "
                f"for {self.geometry.size}: give images of the size named to rewrite()"
            )
        device = x.device.type
        if torch.is_autocast_enabled(device):
            x = x.to(torch.get_autocast_dtype(device))
        weight: Tensor = self.weight
        if self.cast_weight is not None and self.cast_weight.dtype == x.dtype:
            weight = self.cast_weight
        return fast_conv.conv2d(x, weight, self.bias, self.geometry, self.groups)

    def extra_repr(self) -> str:
        """Kernel before and after, and the map."""
        full = "x".join(map(str, self.full_shape[2:]))
        used = "x".join(map(str, self.geometry.kernel))
        return f"{used} of {full} taps, on maps of {self.geometry.size}"

    def _used_part(self, full: Tensor) -> Tensor:
        used = full[self.used].permute(0, 2, 3, 1)
        # contiguous() would keep the strides of a single channel as they are, and convolutions
        # then compute in the slower layout.
        return torch.empty_like(used, memory_format=torch.contiguous_format).copy_(used)

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        used = self.weight.detach()
        weight = used.new_empty(self.full_shape)
        if self.full_weight is not None:
            weight.copy_(self.full_weight)
        weight[self.used] = used.permute(0, 3, 1, 2)
        destination[prefix + "weight"] = weight

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        full = state_dict.get(prefix + "weight")
        # Another shape is not for this layer: torch's own code then says so.
        if full is not None and full.shape == self.full_shape:
            if self.full_weight is not None:
                self.full_weight.copy_(full)
            state_dict = {**state_dict, prefix + "weight": self._used_part(full)}
        super()._load_from_state_dict(state_dict, prefix, *args)


def _map_sizes(network: nn.Module, image_shape: tuple[int, ...]) -> dict[nn.Conv2d, Pair]:
    """Find the convolutions whose input has one size, and that size, by watching one image pass."""
    sizes: dict[nn.Conv2d, set[Pair]] = {}

    def note(conv: nn.Conv2d, inputs: tuple[Tensor, ...]) -> None:
        sizes.setdefault(conv, set()).add(_pair(inputs[0].shape[2:]))

    hooks = [
        module.register_forward_pre_hook(note)
        for module in network.modules()
        if type(module) is nn.Conv2d
    ]
    weight = next(network.parameters())
    # Evaluation leaves the running statistics as they are, and draws no random numbers.
    modes = {module: module.training for module in network.modules()}
    try:
        with torch.no_grad():
            network.eval()(weight.new_zeros(1, *image_shape))
    finally:
        for module, mode in modes.items():
            module.training = mode
        for hook in hooks:
            hook.remove()
    return {conv: seen.pop() for conv, seen in sizes.items() if len(seen) == 1}


def _is_plain(conv: nn.Conv2d, network: nn.Module) -> bool:
    """Return whether a convolution is what its attributes say, and its weights are its own."""
    holders = sum(
        weight is conv.weight
        for module in network.modules()
        for weight in module.parameters(recurse=False)
    )
    return holders == 1 and conv.padding_mode == "zeros" and not conv._forward_hooks


def _windows(size: int, kernel: int, stride: int, padding: Pair, dilation: int) -> int:
    return (sum(padding) + size - dilation * (kernel - 1) - 1) // stride + 1


def _padding(conv: nn.Conv2d) -> tuple[Pair, Pair]:
    """Zero pixels (before, after) down and across."""
    # torch keeps them so for functional.pad: last side first, also for padding="same".
    left, right, top, bottom = conv._reversed_padding_repeated_twice
    return (top, bottom), (left, right)


def _pair(values: Any) -> Pair:
    down, across = values
    return int(down), int(across)
