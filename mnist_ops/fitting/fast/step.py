"""One training step: forward pass, backward pass, update of the weights."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mnist_ops.fitting.fast import cropped_kernels, cuda_graph, fast_norm, flat_weights
from mnist_ops.fitting.fast.flat_weights import FlatWeights
from mnist_ops.study.specs import ResNetSpec


class Prepared:
    """A network with its optimizer, ready for training steps.

    Attributes:
        network: what is trained, on its device.
        optimizer: updates its weights in place; with fused operators.
        scaler: of the losses in float16; disabled in other types.
        graphs: batch size -> the step on batches of that size as a CUDA graph.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        device: torch.device,
        compute: torch.dtype | None = None,
        gather: Callable[[], None] = lambda: None,
        label_smoothing: float = 0.0,
    ):
        """Put together what `prepare` has made.

        Args:
            network: on `device`.
            optimizer: of its weights.
            device: computes the steps.
            compute: the type of automatic mixed precision; None for none.
            gather: brings the gradients of a backward pass to where `optimizer` looks for them.
            label_smoothing: of the loss.
        """
        self.network = network
        self.optimizer = optimizer
        self.scaler = torch.amp.GradScaler(device.type, enabled=compute == torch.float16)
        if self.scaler.is_enabled() and isinstance(optimizer, torch.optim.SGD):
            # torch makes them at the first step without writing them where the losses overflow.
            _begin_velocities(optimizer)
        self.graphs: dict[int, cuda_graph.Step] = {}
        self._device = device
        self._compute = compute
        self._gather = gather
        self._label_smoothing = label_smoothing

    def step(self, pixels: Tensor, labels: Tensor) -> Tensor:
        """Train on one batch; returns its mean loss, on the device, until the next step.

        Args:
            pixels: shape (n, channels, height, width), normalised, on the device.
            labels: int64, shape (n,), on the device.
        """
        return self.graphs.get(len(labels), self.eager_step)(pixels, labels)

    def eager_step(self, pixels: Tensor, labels: Tensor) -> Tensor:
        """Take a `step` operator by operator."""
        self.optimizer.zero_grad(set_to_none=True)
        with self.autocast():
            loss = nn.functional.cross_entropy(
                self.network(pixels), labels, label_smoothing=self._label_smoothing
            )
        self.scaler.scale(loss).backward()
        self._gather()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.detach()

    def set_rate(self, rate: float) -> None:
        """Take the next steps at another learning rate; not after `capture`."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def capture(self, pixels: Tensor, labels: Tensor) -> None:
        """On a CUDA device, take steps on batches of this size as one graph from now on."""
        if self._device.type == "cuda":
            self.network.train()
            graph = cuda_graph.captured(
                self.eager_step, self.network, self.optimizer, self.scaler, pixels, labels
            )
            if graph is not None:
                self.graphs[len(labels)] = graph

    def autocast(self) -> torch.autocast:
        """Return the context in which the network computes."""
        return torch.autocast(
            self._device.type, dtype=self._compute, enabled=self._compute is not None
        )

    def state(self) -> dict[str, Any]:
        """Return all that later steps depend on; `restore` takes it."""
        return {
            "network": self._tensors(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state` of the same network and optimizer."""
        with torch.no_grad():
            for name, tensor in self._tensors().items():
                tensor.copy_(state["network"][name])
        # The rest of the optimizer follows from the spec.
        own = self.optimizer.state_dict()
        self.optimizer.load_state_dict(own | {"state": state["optimizer"]["state"]})
        self.scaler.load_state_dict(state["scaler"])

    def _tensors(self) -> dict[str, Tensor]:
        """Return weights and running statistics by name, without what follows from the spec."""
        kept = self.network.state_dict(keep_vars=True).keys()
        tensors = dict(self.network.named_parameters()) | dict(self.network.named_buffers())
        return {name: tensor.detach() for name, tensor in tensors.items() if name in kept}


def _begin_velocities(optimizer: torch.optim.SGD) -> None:
    for group in optimizer.param_groups:
        for weight in group["params"] if group["momentum"] else ():
            optimizer.state[weight]["momentum_buffer"] = torch.zeros_like(weight)


def prepare(network: nn.Module, image_shape: tuple[int, ...], spec: ResNetSpec) -> Prepared:
    """Make `network` ready for the training that `spec` describes.

    Args:
        network: with its first weights, on the CPU; changed in place.
        image_shape: of one image, without the batch: the only shape that it will take.
        spec: the optimizer and its rates, the precision, the device; and whether the network stays
            as it is (`plain`) or takes the fast form.

    Returns:
        The network in its form, with an optimizer that has not taken a step.
    """
    device = torch.device(spec.device)
    compute = getattr(torch, spec.precision) if spec.amp else None
    optimizer: torch.optim.Optimizer
    # Weight decay moves the weights that the fast form leaves out, and has no kernel.
    if spec.plain or spec.weight_decay:
        weights = [weight for weight in network.to(device).parameters() if weight.requires_grad]
        rate, decay = spec.learning_rate, spec.weight_decay
        if spec.optimizer == "SGD":
            optimizer = torch.optim.SGD(
                weights, lr=rate, momentum=spec.momentum, weight_decay=decay, fused=True
            )
        elif decay:
            optimizer = torch.optim.AdamW(weights, lr=rate, weight_decay=decay, fused=True)
        else:
            optimizer = torch.optim.Adam(weights, lr=rate, fused=True)
        return Prepared(network, optimizer, device, compute, label_smoothing=spec.label_smoothing)
    fast_norm.fuse(cropped_kernels.rewrite(network, image_shape)).to(device)
    flat = FlatWeights(network, compute)
    if spec.optimizer == "SGD":
        optimizer = flat_weights.SGD(flat, spec.learning_rate, spec.momentum)
    else:
        optimizer = flat_weights.Adam(flat, spec.learning_rate)
    return Prepared(network, optimizer, device, compute, flat.gather, spec.label_smoothing)
