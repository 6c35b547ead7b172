"""A training step that a CUDA device replays as one graph.

A step of these small networks is some hundred kernels of a few microseconds: launching them takes
longer than running them. Captured once as a CUDA graph, the whole step, from the normalised pixels
to the update of the weights, is launched as one.

A graph reads and writes the memory that it was captured with. So a step is captured on buffers of
one batch size, into which each batch is copied; the learning rate is a tensor on the device; and
what the capture needs to run before, it takes back. It must also be the step: both are taken once
from the same state, and the graph is used only where they change the weights alike. Where it cannot
be captured, or does not, the training goes on operator by operator.

A graph is captured on the stream on which it is replayed, the training's own. Matrix products keep
their scratch memory by stream, and all backward passes run in one thread: graphs of one common
stream would write into the same scratch memory at once.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mnist_ops.fitting import rng

# Pixels and labels of a batch -> its mean loss, after the weights are updated.
Step = Callable[[Tensor, Tensor], Tensor]

# Before a capture: libraries choose algorithms and allocate what they keep.
WARM_UP_STEPS = 3
# Share by which updates may differ, which may be summed in another order. A graph that does
# nothing, or takes another batch, differs by about 1.
_TOLERANCE = 0.05

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
        network: in training mode, on a CUDA device; the present stream is not the default one.
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
        if scaler.is_enabled():
            # It counts the step as taken.
            scaler._per_optimizer_states.clear()
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
    before = [weight.detach().clone() for weight in _trained(optimizer)]
    with restored_after(network, optimizer, scaler):
        for _ in range(WARM_UP_STEPS):
            step(pixels, labels)
    with restored_after(network, optimizer, scaler):
        expected_loss = step(pixels, labels)
        expected = [weight.detach().clone() for weight in _trained(optimizer)]
    graph = torch.cuda.CUDAGraph()
    stream = torch.cuda.current_stream(pixels.device)
    # What other threads do meanwhile, such as allocate, is no part of it.
    with (
        capturable(optimizer),
        torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"),
    ):
        loss = step(pixels, labels)
    with restored_after(network, optimizer, scaler):
        graph.replay()
        if not alike(before, list(_trained(optimizer)), expected) or not torch.allclose(
            loss, expected_loss, rtol=_TOLERANCE
        ):
            raise RuntimeError("it changes the weights otherwise than the step")
    return graph, loss


@contextmanager
def capturable(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Let `optimizer` be captured in the ``with`` block; outside it torch would warn of that."""
    groups = [group for group in optimizer.param_groups if "capturable" in group]
    for group in groups:
        group["capturable"] = True
    try:
        yield
    finally:
        for group in groups:
            group["capturable"] = False


@torch.no_grad()
def alike(before: Sequence[Tensor], found: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
    """Return whether two updates of the same weights are the same but for rounding.

    The updates are compared, not the weights, of which one step at a low rate changes little.
    """
    apart = of_update = torch.zeros((), dtype=torch.float64, device=before[0].device)
    for old, new, wanted in zip(before, found, expected, strict=True):
        apart = apart + (new - wanted).double().square().sum()
        of_update = of_update + (wanted - old).double().square().sum()
    return bool(apart <= _TOLERANCE**2 * of_update)


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
