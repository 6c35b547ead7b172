"""The networks there are, by name. Importing it imports no torch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from mnist_ops.study import lookup

if TYPE_CHECKING:
    from torch import nn

Build = Callable[[int, int], "nn.Module"]


@dataclass(frozen=True)
class Model:
    """A network.

    Attributes:
        name: as in specs and on the command line.
        title: as in tables.
        build: makes one for images of so many channels and so many classes, its weights drawn
            anew; the function itself, or ``module:function``.
    """

    name: str
    title: str
    build: Build | str

    @property
    def builder(self) -> Build:
        """The function that makes one."""
        if isinstance(self.build, str):
            return cast(Build, lookup.load(self.build))
        return self.build


MODELS = {
    model.name: model
    for model in (
        Model("resnet18", "ResNet-18", "mnist_ops.fitting.resnet.models:resnet18"),
        Model("resnet50", "ResNet-50", "mnist_ops.fitting.resnet.models:resnet50"),
    )
}


def named(name: str) -> Model:
    """Return the network called `name`; raises `InvalidInput` where there is none."""
    found: Model = lookup.named("models", name)
    return found
