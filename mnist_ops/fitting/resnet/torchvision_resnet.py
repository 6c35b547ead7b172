"""torchvision's ResNets for images of other channels and classes than ImageNet's."""

import torchvision
from torch import nn


def make(name: str, channels: int, n_classes: int) -> nn.Module:
    """Return torchvision's network called `name` with another first layer and other outputs."""
    network: nn.Module = getattr(torchvision.models, name)(weights=None, num_classes=n_classes)
    network.conv1 = nn.Conv2d(channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    return network
