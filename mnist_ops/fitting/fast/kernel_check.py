"""Check that the compiled kernels give the same bits as torch's operators."""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from mnist_ops.fitting.fast.kernel_library import load
from mnist_ops.fitting.fast.kernels import (
    BLOCK,
    Gradients,
    adam_step,
    gather,
    norm_backward,
    norm_forward,
    sgd_step,
)


def usable() -> bool:
    """Return whether the kernels are compiled, and give torch's bits on the present threads."""
    return torch.get_num_threads() == 1 and load() is not None and _agree_with_torch()


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
