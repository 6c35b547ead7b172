"""Batches from the images in memory, augmented and normalised on the device that trains."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mnist_ops.data import Images
from mnist_ops.fitting.resnet.models import with_channels
from mnist_ops.study.specs import FLIP, NO_AUGMENTATION, SHIFT, SHIFT_FLIP


class Feed:
    """The source of batches: gathered from uint8 images in memory, normalised on the device.

    Mean and deviation are those of the training pixels, all channels together.
    """

    def __init__(
        self, images: Images, train: NDArray[np.int64], device: torch.device, pin_memory: bool
    ):
        self.images = torch.from_numpy(images.images)
        self.labels = torch.from_numpy(images.labels)
        self.device = device
        self.pin_memory = pin_memory and device.type == "cuda"
        self.mean, self.std = mean_and_std(images.images[train])

    def __call__(
        self, index: Tensor, augment: Callable[[Tensor], Tensor] = lambda pixels: pixels
    ) -> tuple[Tensor, Tensor]:
        """Return float32 pixels and int64 labels, on the device.

        Pixels have the shape (n, channels, height, width); `augment` gets them as uint8.
        """
        pixels, labels = self.images[index], self.labels[index]
        if self.device.type == "cuda":
            if self.pin_memory:
                pixels, labels = pixels.pin_memory(), labels.pin_memory()
            pixels = pixels.to(self.device, non_blocking=self.pin_memory)
            labels = labels.to(self.device, non_blocking=self.pin_memory)
        pixels = augment(with_channels(pixels))
        return pixels.float().div_(255).sub_(self.mean).div_(self.std), labels


def augmented(pixels: Tensor, augmentation: str, seed: Sequence[int]) -> Tensor:
    """Return images as `ResNetSpec.augmentation` has them, drawn from `seed`.

    Args:
        pixels: uint8, shape (n, channels, height, width). What a shift leaves open is 0.
        augmentation: one of `AUGMENTATIONS`.
        seed: whole numbers of at least 0.
    """
    if augmentation == NO_AUGMENTATION:
        return pixels
    n, _, height, width = pixels.shape
    draw = np.random.default_rng(seed)
    # All is drawn, whatever of it is used: flips are the same with shifts and without.
    mirrored = torch.from_numpy(draw.random(n) < 0.5).to(pixels.device)
    most = (height // 8, width // 8)
    down, right = (
        torch.from_numpy(draw.integers(0, 2 * room, n, endpoint=True)).to(pixels.device)
        for room in most
    )
    if augmentation in (FLIP, SHIFT_FLIP):
        pixels = torch.where(mirrored[:, None, None, None], pixels.flip(-1), pixels)
    if augmentation in (SHIFT, SHIFT_FLIP):
        padded = functional.pad(pixels, (most[1], most[1], most[0], most[0]))
        rows = down[:, None] + torch.arange(height, device=pixels.device)
        columns = right[:, None] + torch.arange(width, device=pixels.device)
        image = torch.arange(n, device=pixels.device)[:, None, None]
        found = padded.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]]
        pixels = found.permute(0, 3, 1, 2).contiguous()
    return pixels


def mean_and_std(pixels: NDArray[np.uint8]) -> tuple[float, float]:
    """Return mean and standard deviation of grey levels, 0 to 1, by which images are normalised.

    Args:
        pixels: of the training images: uint8, of any shape.
    """
    # From the counts of the 256 grey levels: exact, and no float copy of the images.
    counts = torch.bincount(torch.from_numpy(pixels).flatten(), minlength=256).double()
    levels = torch.arange(256, dtype=torch.float64) / 255
    share = counts / counts.sum()
    mean = float((levels * share).sum())
    return mean, math.sqrt(float(((levels - mean) ** 2 * share).sum()))
