"""A training step that a CUDA device replays as one graph.

A step of these small networks is some hundred kernels of a few microseconds: launching them takes
longer than running them. Captured once as a CUDA graph, the whole step, from the normalised pixels
to the update of the weights, is launched as one.

A graph reads and writes the memory that it was captured with. So a step is captured on buffers of
one batch size, into which each batch is copied; the learning rate is a tensor on the device; and
what the capture needs to run before, it takes back. It must also be the step: both are taken once
from the same state, and the graph is used only where they end in the same weights. Where it cannot
be captured, or does not, the training goes on operator by operator.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mnist_ops.fitting import rng

# Pixels and labels of a batch -> its mean loss, after the weights are updated.
Step = Callable[[Tensor, Tensor], Tensor]

# Before a capture: libraries choose algorithms and allocate what they keep.
WARM_UP_STEPS = 3
# Of weights after one step both ways, which may sum in another order.
_RELATIVE, _ABSOLUTE = 1e-3, 1e-4

logger = logging.getLogger(__name__)


def captured(
    step: Step,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    pixels: Tensor,
    labels: Tensor,
) -> Step | None:
    """Capture `step` as a graph, for batches of the shapes of `pixels` and `labels`.

    Network, optimizer and scaler are then as they were before.

    Args:
        step: one on the network, by the optimizer, through the scaler.
        network: in training mode, on a CUDA device.
        optimizer: a fused one of torch's.
        scaler: of the losses; disabled where nothing is scaled.
        pixels: of some batch, on the device.
        labels: of the same.

    Returns:
        The graph as a step; None where there can be none, or it is not the step, as logged.
    """
    pixels, labels = pixels.clone(), labels.clone()
    groups = [dict(group) for group in optimizer.param_groups]
    try:
        # Other threads wait here with captures of their own: one at a time is what CUDA allows.
        with rng.preserved(pixels.device):
            graph, loss = _capture(step, network, optimizer, scaler, pixels, labels)
    except (RuntimeError, ValueError) as error:
        for group, before in zip(optimizer.param_groups, groups, strict=True):
            group.update(before)
        logger.warning("no CUDA graph, the training goes on without: %s", error)
        return None

    def replay(new_pixels: Tensor, new_labels: Tensor) -> Tensor:
        pixels.copy_(new_pixels, non_blocking=True)
        labels.copy_(new_labels, non_blocking=True)
        graph.replay()
        # A replay does not pass through Python, which counts what is written.
        torch.autograd.graph.increment_version(weights)
        return loss

    weights = list(_trained(optimizer))
    return replay


def _capture(
    step: Step,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    pixels: Tensor,
    labels: Tensor,
) -> tuple[torch.cuda.CUDAGraph, Tensor]:
    """Return the graph, and the tensor of its loss; raise `RuntimeError` where there is none."""
    for group in optimizer.param_groups:
        group["lr"] = torch.as_tensor(float(group["lr"]), device=pixels.device)
        if "capturable" in group:
            group["capturable"] = True
    stream = torch.cuda.Stream(pixels.device)
    with restored_after(network, optimizer, scaler):
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP_STEPS):
                step(pixels, labels)
        torch.cuda.current_stream().wait_stream(stream)
    with restored_after(network, optimizer, scaler):
        step(pixels, labels)
        expected = [weight.clone() for weight in _trained(optimizer)]
    graph = torch.cuda.CUDAGraph()
    # What other threads do meanwhile, such as allocate, is no part of it.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        loss = step(pixels, labels)
    with restored_after(network, optimizer, scaler):
        graph.replay()
        found = [weight.clone() for weight in _trained(optimizer)]
    same = (
        torch.allclose(a, b, rtol=_RELATIVE, atol=_ABSOLUTE)
        for a, b in zip(found, expected, strict=True)
    )
    if not all(same):
        raise RuntimeError("it computes other weights than the step")
    return graph, loss


@contextmanager
def restored_after(
    network: nn.Module, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler
) -> Iterator[None]:
    """Undo, in place, whatever steps in the ``with`` block do.

    What the optimizer has only made there is zero afterwards, as torch's optimizers begin.
    """
    kept = [(tensor, tensor.detach().clone()) for tensor in _tensors(network, optimizer)]
    known = {id(tensor) for tensor, _ in kept}
    scale = scaler.state_dict()
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value in kept:
                tensor.copy_(value)
            for tensor in _tensors(network, optimizer):
                if id(tensor) not in known:
                    tensor.zero_()
            if scale and scaler._scale is not None and scaler._growth_tracker is not None:
                # Not by loading: a graph has the addresses of these.
                scaler._scale.fill_(scale["scale"])
                scaler._growth_tracker.fill_(scale["_growth_tracker"])


def _tensors(network: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    yield from _trained(optimizer)
    yield from network.buffers()
    for state in optimizer.state.values():
        yield from (value for value in state.values() if isinstance(value, Tensor))


def _trained(optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    for group in optimizer.param_groups:
        yield from group["params"]
