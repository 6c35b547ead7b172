"""The opponent: the script that a competent user writes from the PyTorch tutorials.

torchvision's data set, transforms and network, a DataLoader, an eager loop, torch's own number of
threads. Nothing of mnist-ops is used but the folder where the images already lie, so that both
read the same files. Run it alone: ``python -m tests.benchmarks.plain_resnet --precision bfloat16``.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torchvision
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader
from torchvision.transforms import Compose, Normalize, ToTensor

from mnist_ops.data import default_data_dir


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


def training(
    model: str, dataset: str, root: Path, batch_size: int, optimizer: str, precision: str
) -> Iterator[float]:
    """Train without end; yields the loss of each step."""
    batches = loader(dataset, root, batch_size)
    resnet = network(model).train()
    criterion = nn.CrossEntropyLoss()
    if optimizer == "SGD":
        step = torch.optim.SGD(resnet.parameters(), lr=0.001, momentum=0.9, fused=True)
    else:
        step = torch.optim.Adam(resnet.parameters(), lr=0.001, fused=True)
    while True:
        for images, labels in batches:
            step.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                loss = criterion(resnet(images), labels)
            loss.backward()
            step.step()
            yield loss.item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--dataset", default="MNIST")
    parser.add_argument("--root", type=Path, default=default_data_dir())
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--optimizer", choices=("SGD", "Adam"), default="Adam")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--steps", type=int, default=100)
    options = vars(parser.parse_args())
    count = options.pop("steps")
    steps = training(**options)
    for _ in range(10):
        next(steps)
    start = time.perf_counter()
    for _ in range(count):
        next(steps)
    seconds = time.perf_counter() - start
    print(f"{options['batch_size'] * count / seconds:.0f} images/s over {count} steps")


if __name__ == "__main__":
    main()
