"""Validate the state in a checkpoint before a training resumes from it.

A file of the right digest may hold anything: whoever can write to the folder wrote it. So each
value is compared with a training that has not begun, and what follows from the spec is computed
anew.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from mnist_ops.fitting.checkpoints import NotUsable
from mnist_ops.study.specs import ResNetSpec

# What an optimizer keeps of each weight, beside the count of its steps.
_MOMENTS = {"Adam": ("exp_avg", "exp_avg_sq"), "SGD": ("momentum_buffer",)}

# Counts are kept in 32 bits.
_COUNT_LIMIT = 2**31


def batches(order: Tensor, spec: ResNetSpec) -> list[Tensor]:
    """Split an epoch's images, in their `order`, into the batches of `spec`."""
    # Batch norm cannot normalise the 1x1 maps of a single image.
    return [batch for batch in order.split(spec.batch_size) if len(batch) > 1]


def check_state(
    found: Any,
    fresh: dict[str, Any],
    weights: Sequence[Tensor],
    n_train: int,
    spec: ResNetSpec,
) -> None:
    """Refuse a state that no training of `spec` can have.

    Args:
        found: what the file held.
        fresh: the state of a training of `spec` that has not begun.
        weights: what its optimizer updates.
        n_train: how many images it trains on.
        spec: what is trained.

    Raises:
        NotUsable: it is not such a state; and other exceptions, where it is far from one.
    """
    _require(_matches(found, fresh, but=("optimizer",)), "keys, types, shapes or values")
    sizes = [len(batch) for batch in batches(torch.arange(n_train), spec)]
    epoch, step = found["epoch"], found["step"]
    steps = epoch * len(sizes) + step
    _require(0 <= epoch < spec.epochs and 0 <= step <= len(sizes) and steps > 0, "epoch or step")
    counts = found["seen"], found["images_trained"]
    _require(counts == (sum(sizes[:step]), epoch * sum(sizes)), "the count of images")
    _require(found["seconds"] >= 0, "the time")
    _require(len(found["history"]) == epoch and all(map(_is_epoch, found["history"])), "its epochs")
    order = torch.Generator().manual_seed(spec.seed)
    for _ in range(epoch):
        torch.randperm(n_train, generator=order)
    _require(torch.equal(found["order"], order.get_state()), "the order of the images")
    for numbers in found["random"].values():
        # Not every one of these bytes is a state of the generator, which says so itself.
        if len(numbers) == len(torch.Generator().get_state()):
            torch.Generator().set_state(numbers)
    _check_optimizer(found["optimizer"]["state"], weights, steps, spec)


def _check_optimizer(
    found: dict[Any, dict[str, Any]], weights: Sequence[Tensor], steps: int, spec: ResNetSpec
) -> None:
    counts = spec.optimizer == "Adam"
    moments = _MOMENTS[spec.optimizer] if counts or spec.momentum else ()
    _require(list(found) == list(range(len(weights) if moments else 0)), "the optimizer's weights")
    for kept, weight in zip(found.values(), weights, strict=False):
        expected: dict[str, Any] = dict.fromkeys(moments, weight)
        expected |= {"step": torch.zeros(())} if counts else {}
        _require(_matches(kept, expected), "the optimizer's moments")
        if counts:
            # Where losses are scaled, a step whose gradients overflow is left out.
            least = 0 if spec.precision == "float16" else steps
            _require(least <= kept["step"] <= steps, "the optimizer's steps")


def _matches(found: Any, own: Any, but: Iterable[str] = ()) -> bool:
    """Return whether `found` has the types and shapes of `own`, and finite numbers."""
    if isinstance(own, Tensor):
        return (
            isinstance(found, Tensor)
            and (found.dtype, found.shape, found.layout) == (own.dtype, own.shape, own.layout)
            and bool(torch.isfinite(found).all())
        )
    if type(found) is not type(own):
        return False
    if isinstance(own, dict):
        return found.keys() == own.keys() and all(
            key in but or _matches(found[key], own[key]) for key in own
        )
    if isinstance(own, int):
        return bool(0 <= found < _COUNT_LIMIT)
    return not isinstance(own, float) or math.isfinite(found)


def _is_epoch(values: Any) -> bool:
    return (
        isinstance(values, list)
        and len(values) == 3
        and all(type(value) is float and math.isfinite(value) for value in values)
    )


def _require(fits: bool, what: str) -> None:
    if not fits:
        raise NotUsable(f"{what} cannot be those of this training")
