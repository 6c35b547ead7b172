"""All trained weights of a network in one vector, updated in one call.

What a step does with a network's weights, beside multiplying with them, is bound by memory and by
the number of calls: cast each to bfloat16, cast each gradient back, update each. Here all weights
are slices of one float32 vector, each `Parameter` a view of its own slice:

    weights    w1 | w2 | ... | wn    float32, what the optimizer updates, in one call
    gradient   g1 | g2 | ... | gn    float32, gathered after the backward pass
    cast       c1 | c2 | ... | ck    bfloat16, of the convolutions, cast in one call

Under autocast a convolution multiplies with its slice of `cast`, a leaf of the graph of its own:
autograd hands over the gradient as the matrix product wrote it, and `gather` casts it into place.
The numbers are those of autocast, which casts each weight and each gradient just the same.

The vector holds nothing that is not in the network's `state_dict`: names and shapes are unchanged,
loading one writes into the vector, and what is cast is cast again when a weight was written since.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mnist_ops.fitting.fast import kernel_check, kernels
from mnist_ops.fitting.fast.cropped_kernels import CroppedConv2d

# torch updates weights in vectors of 16, and what is left of one in another precision.
VECTOR = 16


class FlatWeights:
    """The trained weights of a network in one vector.

    Attributes:
        weights: float32, or the type of the network's weights: what an optimizer gets; its `grad`
            is there after `gather`, unless `gradients` are.
        cast: the slices of the convolutions in the type that autocast computes in.
        gradients: the gradients as the last backward pass left them, where a kernel takes them so.
        updated_by_kernel: whether the optimizer takes `gradients`.
        has_kernel: whether a kernel can update these weights.
    """

    def __init__(self, network: nn.Module, compute: torch.dtype | None = None):
        """Move the trained weights of `network` into a vector; they stay its parameters.

        Args:
            network: with trained weights of one type on one device; changed in place, and then
                neither to be moved nor to be given other parameters.
            compute: the type that autocast computes in; None for no autocast.
        """
        convolutions = [
            layer
            for layer in network.modules()
            if isinstance(layer, CroppedConv2d) and layer.weight.requires_grad and compute
        ]
        # Those that are cast come first: one stretch of memory.
        first = [layer.weight for layer in convolutions]
        known = {id(weight) for weight in first}
        trained = first + [
            weight
            for weight in network.parameters()
            if weight.requires_grad and id(weight) not in known
        ]
        sizes = [weight.numel() for weight in trained]
        rest = -sum(sizes) % VECTOR
        flat = functional.pad(torch.cat([w.detach().flatten() for w in trained]), (0, rest))
        slices = [
            part.view(weight.shape)
            for part, weight in zip(flat[: sum(sizes)].split(sizes), trained, strict=True)
        ]
        views = {id(old): nn.Parameter(new) for old, new in zip(trained, slices, strict=True)}
        for module in network.modules():
            for name, weight in list(module.named_parameters(recurse=False)):
                if id(weight) in views:
                    setattr(module, name, views[id(weight)])

        self.weights = nn.Parameter(flat)
        self.has_kernel = (
            flat.device.type == "cpu"
            and flat.dtype == torch.float32
            and compute in (None, torch.bfloat16)
        )
        self.updated_by_kernel = False
        self.gradients: kernels.Gradients | None = None
        self._sources: list[Tensor] = list(views.values())
        self._shapes = [weight.shape for weight in trained]
        self._gradient: Tensor | None = None
        self._slices: list[Tensor] = []
        self._cast_of = -1
        n_cast = sum(sizes[: len(convolutions)])
        self._to_cast = flat[:n_cast]
        self.cast = torch.empty_like(self._to_cast, dtype=compute)
        parts = self.cast.split(sizes[: len(convolutions)])
        for i, (layer, part) in enumerate(zip(convolutions, parts, strict=True)):
            layer.cast_weight = part.view(layer.weight.shape).detach().requires_grad_()
            self._sources[i] = layer.cast_weight
        if convolutions:
            network.register_forward_pre_hook(self._refresh)

    def _refresh(self, *_: Any) -> None:
        """Cast the weights again, if one was written since they were."""
        version = self.weights._version
        if version != self._cast_of:
            self.cast.copy_(self._to_cast)
            self._cast_of = version

    def gather(self) -> None:
        """Collect the gradients of the last backward pass for the optimizer's next step."""
        gradients = [source.grad for source in self._sources]
        for source in self._sources:
            source.grad = None
        self.gradients = None
        if self.updated_by_kernel and kernel_check.usable():
            found = [g.contiguous() for g in gradients if g is not None]
            if len(found) == len(gradients):
                self.gradients = kernels.Gradients(found)
                return
        for gradient, place in zip(gradients, self._places(), strict=True):
            if gradient is None:
                place.zero_()
            else:
                place.copy_(gradient)

    def _places(self) -> list[Tensor]:
        """Return the slices of the vector's gradient, which the kernels do without."""
        if self._gradient is None:
            self._gradient = torch.zeros_like(self.weights)
            sizes = [shape.numel() for shape in self._shapes]
            parts = self._gradient[: sum(sizes)].split(sizes)
            self._slices = [
                part.view(shape) for part, shape in zip(parts, self._shapes, strict=True)
            ]
        # zero_grad() has taken it away.
        self.weights.grad = self._gradient
        return self._slices

    def mark_updated(self, *, cast: bool) -> None:
        """Count a write to the weights, as torch's fused optimizers do not.

        Args:
            cast: whether `cast` was written with them.
        """
        torch.autograd.graph.increment_version(self.weights)
        if cast:
            self._cast_of = self.weights._version


class Adam(torch.optim.Adam):
    """torch's fused Adam, by a compiled kernel where there is one, with the same bits."""

    def __init__(self, flat: FlatWeights, lr: float):
        super().__init__([flat.weights], lr=lr, fused=True)
        self._flat = flat
        flat.updated_by_kernel = flat.has_kernel

    def step(self, closure: Any = None) -> Any:
        """Update the weights with the gradients that were gathered last."""
        flat, gradients = self._flat, self._flat.gradients
        if gradients is None:
            loss = super().step(closure)
            flat.mark_updated(cast=False)
            return loss
        state, group = self.state[flat.weights], self.param_groups[0]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["exp_avg"] = torch.zeros_like(flat.weights)
            state["exp_avg_sq"] = torch.zeros_like(flat.weights)
        state["step"] += 1
        kernels.adam_step(
            gradients,
            flat.weights,
            (state["exp_avg"], state["exp_avg_sq"]),
            flat.cast,
            int(state["step"]),
            group["lr"],
            group["betas"],
            group["eps"],
        )
        flat.mark_updated(cast=True)
        return None


class SGD(torch.optim.SGD):
    """torch's fused SGD, by a compiled kernel where there is one, with the same bits."""

    def __init__(self, flat: FlatWeights, lr: float, momentum: float):
        super().__init__([flat.weights], lr=lr, momentum=momentum, fused=True)
        self._flat = flat
        # Without momentum torch keeps no velocity.
        flat.updated_by_kernel = flat.has_kernel and momentum != 0

    def step(self, closure: Any = None) -> Any:
        """Update the weights with the gradients that were gathered last."""
        flat, gradients = self._flat, self._flat.gradients
        if gradients is None:
            loss = super().step(closure)
            flat.mark_updated(cast=False)
            return loss
        state, group = self.state[flat.weights], self.param_groups[0]
        velocity = state.get("momentum_buffer")
        first = velocity is None
        if velocity is None:
            velocity = state["momentum_buffer"] = torch.zeros_like(flat.weights)
        kernels.sgd_step(
            gradients,
            flat.weights,
            velocity,
            flat.cast,
            group["lr"],
            group["momentum"],
            first=first,
        )
        flat.mark_updated(cast=True)
        return None
