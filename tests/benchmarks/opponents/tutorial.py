"""The script that a competent user writes from the PyTorch tutorials.

torchvision's data set, transforms and network, a DataLoader, an eager loop.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torchvision
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader
from torchvision.transforms import Compose, Normalize, ToTensor


@dataclass(frozen=True)
class Training:
    """What is trained, and how.

    Attributes:
        root: folder of the data sets.
        precision: ``float32``, or ``bfloat16`` under autocast.
    """

    root: Path
    dataset: str
    model: str
    batch_size: int
    optimizer: str
    precision: str


def loader(dataset: str, root: Path, batch_size: int) -> DataLoader:
    """Batches of normalised images of all 70,000, shuffled."""
    transform = Compose([ToTensor(), Normalize((0.1307,), (0.3081,))])
    reader = getattr(torchvision.datasets, dataset)
    parts = [reader(root, train=train, transform=transform) for train in (True, False)]
    return DataLoader(ConcatDataset(parts), batch_size=batch_size, shuffle=True)


def network(model: str) -> nn.Module:
    """torchvision's ResNet for one channel and 10 classes."""
    resnet = getattr(torchvision.models, model)(num_classes=10)
    resnet.conv1 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
    return resnet


def optimizer_of(name: str, resnet: nn.Module) -> torch.optim.Optimizer:
    """Torch's own, in its fastest form."""
    if name == "SGD":
        return torch.optim.SGD(resnet.parameters(), lr=0.001, momentum=0.9, fused=True)
    return torch.optim.Adam(resnet.parameters(), lr=0.001, fused=True)


def train(training: Training, on_step: Callable[[], None]) -> None:
    """Train without end."""
    batches = loader(training.dataset, training.root, training.batch_size)
    resnet = network(training.model).train()
    criterion = nn.CrossEntropyLoss()
    step = optimizer_of(training.optimizer, resnet)
    while True:
        for images, labels in batches:
            step.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=training.precision == "bfloat16"):
                loss = criterion(resnet(images), labels)
            loss.backward()
            step.step()
            loss.item()
            on_step()
