"""A training step of fixed shapes that a CUDA device replays as one graph.

A step of these small networks is some hundred kernels of a few microseconds: launching them takes
longer than running them. Captured once as a CUDA graph, the whole step, from the gathering of its
images to the update of the weights, is launched as one; and as a graph leaves most of the device
idle, several trainings run side by side, each on a stream of its own.

What a graph needs, and this gives: all data on the device, one batch size, and the learning rate in
a tensor, so that one capture serves every rate. What is captured is `StaticStep.eager`, which
computes the same on any device: it is the reference, and the fallback where there is no CUDA.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from mnist_ops.flat_weights import FlatWeights

# Before a capture: libraries choose algorithms and allocate what they keep.
WARM_UP_STEPS = 3


class StaticStep:
    """One step after another of one training.

    Attributes:
        index: int64, (batch_size,): the images of the next step, on the device.
        loss: float32, scalar: sum over all steps of the mean loss of each; zero it to begin anew.
    """

    def __init__(
        self,
        network: nn.Module,
        flat: FlatWeights | None,
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        autocast: AbstractContextManager[object],
        images: Tensor,
        labels: Tensor,
        normalisation: tuple[float, float],
        batch_size: int,
    ):
        """A step over `images`; nothing is computed yet.

        Args:
            network: in training mode, on the device of `images`.
            flat: its weights, where they are one vector.
            optimizer: of torch's fused ones, new: no step was taken.
            scaler: of the losses; disabled where nothing is scaled.
            autocast: entered around every forward pass.
            images: uint8, (n, 28, 28), all of them, on the device.
            labels: int64, (n,), likewise.
            normalisation: mean and deviation of the pixels, in 0 to 1.
            batch_size: images of every step.
        """
        self.network, self.flat, self.optimizer = network, flat, optimizer
        self.scaler, self.autocast = scaler, autocast
        self.images, self.labels, self.normalisation = images, labels, normalisation
        device = images.device
        self.index = torch.zeros(batch_size, dtype=torch.int64, device=device)
        self.loss = torch.zeros((), device=device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        if device.type == "cuda":
            for group in optimizer.param_groups:
                group["lr"] = torch.tensor(float(group["lr"]), device=device)
                if "capturable" in group:
                    group["capturable"] = True

    def set_rate(self, rate: float) -> None:
        """Train at another learning rate from the next step on, captured or not."""
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def eager(self) -> None:
        """The step on the images of `index`, operator by operator."""
        mean, deviation = self.normalisation
        pixels = self.images[self.index].unsqueeze(1).float().div_(255).sub_(mean).div_(deviation)
        if self.flat is None:
            self.optimizer.zero_grad(set_to_none=True)
        with self.autocast:
            loss = nn.functional.cross_entropy(self.network(pixels), self.labels[self.index])
        self.scaler.scale(loss).backward()
        if self.flat is not None:
            self.flat.gather()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.loss += loss.detach()

    def capture(self) -> None:
        """Record the step as a graph, which `__call__` replays from then on.

        Steps are taken for it, and taken back: weights, running statistics, optimizer and scaler
        are then as they were.
        """
        assert self.stream is not None, "graphs are CUDA's"
        kept = [(tensor, tensor.clone()) for tensor in self._tensors()]
        scale = self.scaler.state_dict()
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            for _ in range(WARM_UP_STEPS):
                self.eager()
        torch.cuda.current_stream().wait_stream(self.stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.stream):
            self.eager()
        with torch.no_grad():
            for tensor, value in kept:
                tensor.copy_(value)
            # What the warm-up made, the optimizer would have begun at zero.
            for state in self.optimizer.state.values():
                for value in state.values():
                    if isinstance(value, Tensor):
                        value.zero_()
        if scale:
            # In place: the graph has the tensors' addresses.
            self.scaler._scale.fill_(scale["scale"])  # type: ignore[union-attr]
            self.scaler._growth_tracker.fill_(scale["_growth_tracker"])  # type: ignore[union-attr]
        self._graph = graph

    def __call__(self, index: Tensor) -> None:
        """Train on the images of `index`: int64, (batch_size,), best in pinned memory.

        Returns before it is done: wait for the device, or for `stream`, to read `loss`.
        """
        if self.stream is None or self._graph is None:
            self.index.copy_(index)
            self.eager()
            return
        with torch.cuda.stream(self.stream):
            self.index.copy_(index, non_blocking=True)
            self._graph.replay()
        if self.flat is not None:
            # A replay does not pass through Python, which keeps count of what is written.
            self.flat.updated(cast=False)

    def _tensors(self) -> Iterator[Tensor]:
        if self.flat is not None:
            yield self.flat.weights.detach()
        else:
            yield from (weight.detach() for weight in self.network.parameters())
        yield from self.network.buffers()
        yield self.loss


def side_by_side(steps: Sequence[StaticStep], batches: Iterable[Sequence[Tensor]]) -> None:
    """Take the steps of several trainings at a time, and wait for the last.

    Args:
        steps: one a training; captured, each runs on its own stream.
        batches: for each round the indices of every training's images, in the order of `steps`.
    """
    for round_ in batches:
        for step, index in zip(steps, round_, strict=True):
            step(index)
    for step in steps:
        if step.stream is not None:
            step.stream.synchronize()
