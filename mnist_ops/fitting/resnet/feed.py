"""Batches from the images in memory, normalised on the device that trains."""

import math

import torch
from torch import Tensor

from mnist_ops.data import Images
from mnist_ops.fitting.resnet.models import with_channels


class Feed:
    """The source of batches: gathered from uint8 images in memory, normalised on the device.

    Mean and deviation are those of the training pixels, all channels together.
    """

    def __init__(self, images: Images, train: Tensor, device: torch.device, pin_memory: bool):
        self.images = images
        self.device = device
        self.pin_memory = pin_memory and device.type == "cuda"
        self.mean, self.std = mean_and_std(images.images[train])

    def __call__(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return float32 pixels and int64 labels, on the device.

        Pixels have the shape (n, channels, height, width).
        """
        pixels, labels = self.images.images[index], self.images.labels[index]
        if self.device.type == "cuda":
            if self.pin_memory:
                pixels, labels = pixels.pin_memory(), labels.pin_memory()
            pixels = pixels.to(self.device, non_blocking=self.pin_memory)
            labels = labels.to(self.device, non_blocking=self.pin_memory)
        pixels = with_channels(pixels)
        return pixels.float().div_(255).sub_(self.mean).div_(self.std), labels


def mean_and_std(pixels: Tensor) -> tuple[float, float]:
    """Return mean and standard deviation of grey levels, 0 to 1, by which images are normalised.

    Args:
        pixels: of the training images: uint8, of any shape.
    """
    # From the counts of the 256 grey levels: exact, and no float copy of the images.
    counts = torch.bincount(pixels.flatten(), minlength=256).double()
    levels = torch.arange(256, dtype=torch.float64) / 255
    share = counts / counts.sum()
    mean = float((levels * share).sum())
    return mean, math.sqrt(float(((levels - mean) ** 2 * share).sum()))
