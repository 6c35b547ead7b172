"""Compiled kernels, optional: what a training step does beside its matrix products.

Each passes over memory once where torch's operators pass several times: the update of all weights,
batch norm with what is added to it and ReLU, the gathering of a convolution's windows. Without
them a step took 1.1 times as long (a quiet AMD EPYC, 2026-11-25) and about 1.2 times (a busy Intel
Xeon with AMX, 2026-11-26). Each gives the same bits as torch's operators on one thread, and every
process verifies that before it uses one: where there is no compiler, or where another torch,
compiler or processor rounds differently, `usable` is False and torch's operators do the work.
MNIST_OPS_KERNELS=0 does the same by hand.

The source, kernels.cpp, is compiled with torch's extension tools at the first use, in a few
seconds, into the user's cache; the file there is named after all that the outcome depends on.
"""

import ctypes
import hashlib
import logging
import math
import os
import platform
import tempfile
from collections.abc import Sequence
from ctypes import c_bool, c_double, c_float, c_int64, c_void_p
from functools import cache
from pathlib import Path

import torch
from platformdirs import user_cache_path
from torch import Tensor
from torch.nn import functional

SOURCE = Path(__file__).with_suffix(".cpp")
NAME = "mnist_ops_kernels"
FLAGS = [
    "-O3",
    "-march=native",
    "-mprefer-vector-width=512",
    # Where torch fuses a product with a sum the source says fma(): nowhere else.
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
]
# Channels that the batch norm takes at a time: other numbers of them are left to torch.
BLOCK = 64

_SIGNATURES = {
    "adam_step": [c_int64, *[c_void_p] * 7, *[c_float] * 6],
    "sgd_step": [c_int64, *[c_void_p] * 6, c_float, c_float, c_bool],
    "norm_forward": [*[c_void_p] * 9, c_int64, c_int64, c_double, c_float, c_bool],
    "norm_backward": [*[c_void_p] * 10, c_int64, c_int64, c_bool],
    "gather": [c_void_p, c_void_p, *[c_int64] * 14, c_bool],
}


def usable() -> bool:
    """Return whether the kernels are compiled, and give torch's bits on the present threads."""
    return torch.get_num_threads() == 1 and load() is not None and _agree_with_torch()


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


@cache
def load() -> ctypes.CDLL | None:
    """Load the kernels, compiled for this processor; None where they cannot be, or are off."""
    if os.environ.get("MNIST_OPS_KERNELS") == "0":
        return None
    try:
        return _compiled()
    # No compiler, no ninja, no folder to write to, a compiler with other flags: all the same here.
    except Exception as error:
        logging.getLogger(__name__).info("no compiled kernels: %s", error)
        return None


def _compiled() -> ctypes.CDLL:
    processor = Path("/proc/cpuinfo")
    flags = (
        processor.read_text(encoding="utf-8", errors="replace")
        .partition("\nflags")[2]
        .partition("\n")[0]
    )
    made_of = [
        SOURCE.read_text(encoding="utf-8"),
        *FLAGS,
        torch.__version__,
        platform.platform(),
        flags,
    ]
    digest = hashlib.sha256("\n".join(made_of).encode()).hexdigest()[:16]
    built = user_cache_path("mnist-ops") / "kernels" / f"{digest}.so"
    if not built.exists():
        built.parent.mkdir(parents=True, exist_ok=True)
        # Put in place in one piece: processes that start together, or are killed, cannot spoil it.
        with tempfile.TemporaryDirectory(dir=built.parent) as folder:
            _compile(folder)
            Path(folder, f"{NAME}.so").replace(built)
    library = ctypes.CDLL(str(built))
    for function, arguments in _SIGNATURES.items():
        getattr(library, function).argtypes = arguments
        getattr(library, function).restype = None
    return library


def _compile(folder: str) -> None:
    log = logging.getLogger("torch.utils.cpp_extension")
    before = log.level
    # Its import warns of a CUDA toolkit that is not needed here.
    log.setLevel(logging.ERROR)
    try:
        from torch.utils import cpp_extension

        cpp_extension.load(
            NAME, [str(SOURCE)], FLAGS, build_directory=folder, is_python_module=False
        )
    finally:
        log.setLevel(before)


@cache
def _agree_with_torch() -> bool:
    """Return whether each kernel gives torch's bits, on random numbers of sizes that occur."""
    random = torch.Generator().manual_seed(0)
    return (
        all(_norm_agrees(random, added) for added in (False, True))
        and all(_step_agrees(random, kind) for kind in (torch.optim.Adam, torch.optim.SGD))
        and _gather_agrees(random)
    )


def _norm_agrees(random: torch.Generator, added: bool) -> bool:
    shape, channels = (9, 2 * BLOCK, 5, 5), 2 * BLOCK
    x, other, dy = (_map(random, shape) for _ in range(3))
    weight, bias, mean, var = (torch.rand(channels, generator=random) + 0.1 for _ in range(4))
    ours, theirs = (mean.clone(), var.clone()), (mean.clone(), var.clone())

    got = norm_forward(x, other if added else None, weight, bias, ours, 0.1, 1e-5, relu=True)
    dx, dadded, *rest = norm_backward(dy, got[0], x, weight, *got[1:], relu=True, added=added)

    y, *saved = torch.native_batch_norm(x, weight, bias, *theirs, True, 0.1, 1e-5)
    y = torch.relu_(y.add_(other) if added else y)
    dz = torch.ops.aten.threshold_backward(dy, y, 0)
    expected = torch.ops.aten.native_batch_norm_backward(
        dz, x, weight, *theirs, *saved, True, 1e-5, [True] * 3
    )
    return _same([*got, *ours, dx, *rest], [y, *saved, *theirs, *expected]) and (
        dadded is None or torch.equal(dadded, dz)
    )


def _step_agrees(random: torch.Generator, kind: type[torch.optim.Adam | torch.optim.SGD]) -> bool:
    # Two gradients of each type, in sizes that leave a rest of a vector of 16.
    sizes = (35, 4096, 77, 64)
    weights = torch.randn(sum(sizes), generator=random)
    ours, mean, square = weights.clone(), torch.zeros_like(weights), torch.zeros_like(weights)
    theirs = torch.nn.Parameter(weights)
    optimizer: torch.optim.Optimizer
    if kind is torch.optim.Adam:
        optimizer = torch.optim.Adam([theirs], lr=0.01, fused=True)
    else:
        optimizer = torch.optim.SGD([theirs], lr=0.01, momentum=0.9, fused=True)
    cast = torch.empty(sum(sizes[:2]), dtype=torch.bfloat16)
    for step in (1, 2, 3):
        gradient = torch.randn(len(weights), generator=random) / 10
        parts = list(gradient.split(sizes))
        parts[:2] = [part.bfloat16() for part in parts[:2]]
        theirs.grad = torch.cat([part.float() for part in parts])
        optimizer.step()
        if kind is torch.optim.Adam:
            moments = mean, square
            adam_step(Gradients(parts), ours, moments, cast, step, 0.01, (0.9, 0.999), 1e-8)
        else:
            sgd_step(Gradients(parts), ours, mean, cast, 0.01, 0.9, first=step == 1)
    # torch computes a rest of a vector in another precision: `flat_weights` has none.
    whole = len(weights) // 16 * 16
    return torch.equal(ours[:whole], theirs.detach()[:whole]) and torch.equal(
        cast, ours[: len(cast)].bfloat16()
    )


def _gather_agrees(random: torch.Generator) -> bool:
    x = _map(random, (3, 5, 4, 6))
    got = gather(x.permute(0, 2, 3, 1), (3, 4), (3, 2), (2, 1), (1, 2), (2, 0), backwards=False)
    # unfold's windows have the channels first.
    expected = functional.unfold(functional.pad(x.float(), (0, 0, 2, 1)), (3, 2), (1, 2), 0, (2, 1))
    return torch.equal(
        got.view(3, 12, 6, 5).transpose(2, 3).reshape(3, 12, 30).transpose(1, 2).float(), expected
    )


def _map(random: torch.Generator, shape: tuple[int, ...]) -> Tensor:
    x = torch.randn(shape, generator=random).bfloat16()
    return x.contiguous(memory_format=torch.channels_last)


def _same(got: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))
