"""The networks there are, by name. Importing it imports no torch."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from mnist_ops.study import lookup

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Model:
    """A network.

    Attributes:
        name: as in specs and on the command line.
        title: as in tables.
        build: returns one for images of so many channels and so many classes, its weights drawn
            anew.
    """

    name: str
    title: str
    build: "Callable[[int, int], nn.Module]"


def _resnet(name: str, channels: int, n_classes: int) -> "nn.Module":
    # It takes seconds, for which those that only ask for names need not wait.
    from mnist_ops.fitting.resnet import torchvision_resnet

    return torchvision_resnet.make(name, channels, n_classes)


MODELS = {
    model.name: model
    for model in (
        Model("resnet18", "ResNet-18", partial(_resnet, "resnet18")),
        Model("resnet50", "ResNet-50", partial(_resnet, "resnet50")),
    )
}


def named(name: str) -> Model:
    """Return the network called `name`; raises `InvalidInput` where there is none."""
    found: Model = lookup.named("models", name)
    return found
