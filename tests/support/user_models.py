"""Networks that a user might add: torchvision's, for one channel of 28x28 pixels."""

import torchvision
from torch import Tensor, nn


def vgg() -> nn.Module:
    network = torchvision.models.vgg11_bn(num_classes=10, dropout=0.0)
    network.features[0] = nn.Conv2d(1, 64, 3, padding=1)
    # The fifth pooling would leave no pixel of 28.
    network.features = network.features[:-1]
    network.avgpool = nn.AdaptiveAvgPool2d(1)
    network.classifier[0] = nn.Linear(512, 4096)
    return network


def mobilenet() -> nn.Module:
    network = torchvision.models.mobilenet_v3_small(num_classes=10, dropout=0.0)
    network.features[0][0] = nn.Conv2d(1, 16, 3, stride=2, padding=1, bias=False)
    return network


class Transformer(nn.Module):
    """torchvision's ViT on 28x28 images, their one channel repeated."""

    def __init__(self) -> None:
        super().__init__()
        self.vit = torchvision.models.VisionTransformer(28, 7, 2, 2, 32, 64, num_classes=10)

    def forward(self, x: Tensor) -> Tensor:
        return self.vit(x.expand(-1, 3, -1, -1))
