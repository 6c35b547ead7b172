"""The script of a user who has profiled the tutorials' one: no DataLoader, channels last.

All images are normalised once, and kept in memory as one tensor.
"""

from collections.abc import Callable

import torch
import torchvision
from torch.nn import functional
from tutorial import Training, network, optimizer_of


def train(training: Training, on_step: Callable[[], None]) -> None:
    """Train without end."""
    reader = getattr(torchvision.datasets, training.dataset)
    parts = [reader(training.root, train=train) for train in (True, False)]
    pixels = torch.cat([part.data for part in parts]).unsqueeze(1)
    pixels = pixels.float().div_(255).sub_(0.1307).div_(0.3081)
    labels = torch.cat([part.targets for part in parts])
    resnet = network(training.model).train().to(memory_format=torch.channels_last)
    step = optimizer_of(training.optimizer, resnet)
    while True:
        for index in torch.randperm(len(pixels)).split(training.batch_size):
            images = pixels[index].to(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=training.precision == "bfloat16"):
                loss = functional.cross_entropy(resnet(images), labels[index])
            step.zero_grad(set_to_none=True)
            loss.backward()
            step.step()
            on_step()
