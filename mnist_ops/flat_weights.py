"""All trained weights of a network as one vector, so that a step touches memory once, not 62 times.

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

from mnist_ops.live_taps import LiveConv2d


class FlatWeights:
    """The trained weights of a network in one vector.

    Attributes:
        weights: float32, or the type of the network's weights: what an optimizer gets; its `grad`
            is there after `gather`.
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
            if isinstance(layer, LiveConv2d) and layer.weight.requires_grad and compute
        ]
        # Those that are cast come first: one stretch of memory.
        first = [layer.weight for layer in convolutions]
        known = {id(weight) for weight in first}
        trained = first + [
            weight
            for weight in network.parameters()
            if weight.requires_grad and id(weight) not in known
        ]
        flat = torch.cat([weight.detach().flatten() for weight in trained])
        gradient = torch.zeros_like(flat)
        sizes = [weight.numel() for weight in trained]
        slices = [
            part.view(weight.shape) for part, weight in zip(flat.split(sizes), trained, strict=True)
        ]
        views = {id(old): nn.Parameter(new) for old, new in zip(trained, slices, strict=True)}
        for module in network.modules():
            for name, weight in list(module.named_parameters(recurse=False)):
                if id(weight) in views:
                    setattr(module, name, views[id(weight)])

        self.weights = nn.Parameter(flat)
        self.weights.grad = gradient
        self._sources = list(views.values())
        self._gradients = [
            part.view(weight.shape)
            for part, weight in zip(gradient.split(sizes), trained, strict=True)
        ]
        self._cast_of = -1
        n_cast = sum(sizes[: len(convolutions)])
        self._to_cast = flat[:n_cast]
        self._cast = torch.empty_like(self._to_cast, dtype=compute)
        parts = self._cast.split(sizes[: len(convolutions)])
        for i, (layer, part) in enumerate(zip(convolutions, parts, strict=True)):
            layer.cast_weight = part.view(layer.weight.shape).detach().requires_grad_()
            self._sources[i] = layer.cast_weight
        if convolutions:
            network.register_forward_pre_hook(self._refresh)

    def _refresh(self, *_: Any) -> None:
        """Cast the weights again, if one was written since they were."""
        version = self.weights._version
        if version != self._cast_of:
            self._cast.copy_(self._to_cast)
            self._cast_of = version

    def gather(self) -> None:
        """Move the gradients of the last backward pass into that of the vector."""
        found, places = [], []
        for source, place in zip(self._sources, self._gradients, strict=True):
            if source.grad is None:
                place.zero_()
            else:
                found.append(source.grad)
                places.append(place)
                source.grad = None
        torch._foreach_copy_(places, found)
