"""Read, write and apply trained networks.

The file is the state dict of torchvision's ResNet (whose ``conv1`` has one channel), so that any
program can load it. The network is applied as in its run: same precision, the convolutions of
`cropped_kernels`, and batches of `BATCH` images, since rounding depends on the size of a batch. So
the scores of an image equal those of the run bit for bit, in any batch.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mnist_ops.fitting.fast import cropped_kernels
from mnist_ops.fitting.resnet import models
from mnist_ops.serving.inference import tensors
from mnist_ops.serving.inference.tensors import ModelRefused
from mnist_ops.study.dataset import Dataset
from mnist_ops.study.specs import ResNetSpec

# As in `mnist_ops.fitting.resnet.train`.
BATCH = 256


class Network:
    """A network that classifies raw images."""

    def __init__(
        self, spec: ResNetSpec, data: Dataset, state: dict[str, Tensor], mean: float, std: float
    ):
        """Load `state` into the network that `spec` names.

        Args:
            spec: of the training; its device is used if this machine has it.
            data: the form of its images.
            state: stock state dict.
            mean: of the training pixels, 0 to 1, for normalising images.
            std: their standard deviation.
        """
        self.mean, self.std = mean, std
        self._n_classes = data.n_classes
        self._lock = threading.Lock()
        on_cuda = spec.device == "cuda" and torch.cuda.is_available()
        self._device = torch.device("cuda" if on_cuda else "cpu")
        # Without float16 on a CPU, float32 is the closest precision.
        precise = spec.precision == "float16" and not on_cuda
        self._type = None if precise or not spec.amp else getattr(torch, spec.precision)
        network = models.build(replace(spec, seed=0), data)
        if not (spec.plain or spec.weight_decay):
            network = cropped_kernels.rewrite(network, data.image_shape)
        network.load_state_dict(state)
        self._network = network.eval().to(self._device)

    def predict(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """Return the class of each image, shape (n,), and the logits, shape (n, classes).

        Args:
            images: uint8, shape (n, height, width): grey levels, 0 is background; or with the
                channels of colours, (n, 3, height, width).
        """
        logits = np.concatenate(
            [self._logits(images[i : i + BATCH]) for i in range(0, len(images), BATCH)]
            or [np.empty((0, self._n_classes), np.float32)]
        )
        return logits.argmax(axis=1).astype(np.uint8), logits.astype(np.float64)

    def _logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        batch = np.zeros((BATCH, *images.shape[1:]), np.uint8)
        batch[: len(images)] = images
        pixels = models.with_channels(torch.from_numpy(batch).to(self._device)).float()
        pixels = pixels.div_(255).sub_(self.mean).div_(self.std)
        with (
            self._lock,
            _one_thread(),
            torch.inference_mode(),
            torch.autocast(self._device.type, dtype=self._type, enabled=self._type is not None),
        ):
            logits: NDArray[np.float32] = self._network(pixels)[: len(images)].float().cpu().numpy()
        return logits


def scorer(
    spec: ResNetSpec, data: Dataset, state: dict[str, Tensor], mean: float, std: float
) -> Network:
    """Return the network that `spec` names, with the weights of `state`."""
    return Network(spec, data, state, mean, std)


def write(path: Path, state: dict[str, Tensor], spec: ResNetSpec) -> None:
    """Write a stock state dict to a safetensors file."""
    tensors.write(path, {name: tensor.cpu().numpy() for name, tensor in state.items()})


def read(path: Path, spec: ResNetSpec, data: Dataset | None = None) -> dict[str, Tensor]:
    """Read the state dict of the network that `spec` names, for images of the form of `data`.

    Raises:
        ModelRefused: the file does not match the network; see `tensors.read`.
        OtherCode: the network is a user's function that is not here as the spec has it.
    """
    with torch.device("meta"):
        stock = models.stock(spec, data)
    expected = stock.state_dict()
    types = {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in expected.items()}
    arrays = tensors.read(path, types)
    for name, tensor in expected.items():
        tensors.shaped(path, name, arrays[name], tuple(tensor.shape))
        if name.endswith("running_var") and (arrays[name] < 0).any():
            raise ModelRefused(f"model file {path.name} is refused: {name!r} is below 0")
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute with one thread, as runs do: rounding depends on the number of threads."""
    before = torch.get_num_threads(), torch.backends.cudnn.deterministic
    torch.set_num_threads(1)
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.backends.cudnn.deterministic = before[1]
