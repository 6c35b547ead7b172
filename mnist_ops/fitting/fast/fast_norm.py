"""Batch norm, the shortcut that is added to it, and ReLU, in one pass.

In a ResNet these three follow one another: relu(norm(x) + shortcut). As operators of their own they
pass over the map five times, and back again as often; `kernels` has them as one. This file gives
torchvision's blocks a forward pass that computes them as one where a kernel can:
training, bfloat16 maps in channels_last on one thread of a CPU. Otherwise the three are torch's.
They are the same numbers, bit for bit, in both forms.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import resnet

from mnist_ops.fitting.fast import kernel_check, kernels


def fuse(network: nn.Module) -> nn.Module:
    """Give the blocks of torchvision's ResNets in `network` the forward passes below.

    Nothing else changes: neither layers nor names. What is not exactly such a block stays.

    Args:
        network: changed in place.

    Returns:
        The network.
    """
    for module in network.modules():
        fused = _FUSED.get(type(module))
        if fused and all(_is_plain(name, child) for name, child in module.named_children()):
            module.__class__ = fused
    return network


def norm_relu(x: Tensor, norm: nn.BatchNorm2d, added: Tensor | None = None) -> Tensor:
    """Return relu(norm(x) + added), shape (n, channels, height, width)."""
    if _has_kernel(x, norm, added):
        assert norm.num_batches_tracked is not None
        norm.num_batches_tracked.add_(1)
        return _Fused.apply(
            x, added, norm.weight, norm.bias, norm.running_mean, norm.running_var, norm
        )
    y = norm(x)
    return torch.relu_(y if added is None else y.add_(added))


def _has_kernel(x: Tensor, norm: nn.BatchNorm2d, added: Tensor | None) -> bool:
    return (
        norm.training
        and x.dtype == torch.bfloat16
        and x.device.type == "cpu"
        and norm.weight is not None
        and norm.weight.dtype == torch.float32
        and norm.running_mean is not None
        and norm.momentum is not None
        and x.shape[1] % kernels.BLOCK == 0
        and _channels_last(x)
        and (added is None or (added.dtype == x.dtype and _channels_last(added)))
        and kernel_check.usable()
    )


def _channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last)


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        added: Tensor | None,
        weight: Tensor,
        bias: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        norm: nn.BatchNorm2d,
    ) -> Tensor:
        assert norm.momentum is not None
        y, mean, invstd = kernels.norm_forward(
            x, added, weight, bias, (running_mean, running_var), norm.momentum, norm.eps, relu=True
        )
        ctx.save_for_backward(y, x, weight, mean, invstd)
        ctx.added = added is not None
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        dy = gradients[0].contiguous(memory_format=torch.channels_last)
        dx, dadded, dweight, dbias = kernels.norm_backward(
            dy, *ctx.saved_tensors, relu=True, added=ctx.added
        )
        return dx, dadded, dweight, dbias, None, None, None


def _is_plain(name: str, child: nn.Module) -> bool:
    """Return whether a block's layer is what its name says: a user may have put in another."""
    wanted = nn.BatchNorm2d if name.startswith("bn") else nn.ReLU if name == "relu" else None
    return wanted is None or (type(child) is wanted and not child._forward_hooks)


class _BasicBlock(resnet.BasicBlock):  # type: ignore[misc]
    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = norm_relu(self.conv1(x), self.bn1)
        return norm_relu(self.conv2(y), self.bn2, shortcut)


class _Bottleneck(resnet.Bottleneck):  # type: ignore[misc]
    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = norm_relu(self.conv1(x), self.bn1)
        y = norm_relu(self.conv2(y), self.bn2)
        return norm_relu(self.conv3(y), self.bn3, shortcut)


class _ResNet(resnet.ResNet):  # type: ignore[misc]
    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(norm_relu(self.conv1(x), self.bn1))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


_FUSED: dict[type[nn.Module], type[nn.Module]] = {
    resnet.BasicBlock: _BasicBlock,
    resnet.Bottleneck: _Bottleneck,
    resnet.ResNet: _ResNet,
}
