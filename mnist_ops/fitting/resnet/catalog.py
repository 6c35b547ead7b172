"""The networks there are, by name. Importing it imports no torch."""

from functools import partial
from typing import TYPE_CHECKING

from mnist_ops.study.model import Model

if TYPE_CHECKING:
    from torch import nn


def _resnet(name: str, image_shape: tuple[int, int, int], n_classes: int) -> "nn.Module":
    # It takes seconds, for which those that only ask for names need not wait.
    from mnist_ops.fitting.resnet import torchvision_resnet

    return torchvision_resnet.make(name, image_shape[0], n_classes)


MODELS = {
    model.name: model
    for model in (
        Model("resnet18", "ResNet-18", partial(_resnet, "resnet18"), flops=33_184_000),
        Model("resnet50", "ResNet-50", partial(_resnet, "resnet50"), flops=78_755_072),
    )
}
