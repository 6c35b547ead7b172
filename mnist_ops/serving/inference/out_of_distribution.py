"""Detect out-of-distribution images, which are unlike the training images of a model.

A classifier assigns every image to a class, even a photograph of a cat. Four statistics measure how
unusual an image is; each is small for images like the training images:

* *pattern*: squared distance of the image from the space of the first principal components of the
  training images (the Q statistic of process control: Jackson and Mudholkar, Technometrics 21(3),
  1979). High for unusual strokes, texture and noise.
* *neighbour*: one minus the cosine to the nearest of some training images. High for shapes unlike
  those of all training images, even faint ones.
* *contrast*: minus the sum of differences of adjacent pixels. High for blank and grey images.
* *recognition*: the free energy, - log sum exp of the model's scores (Liu et al., NeurIPS 2020).
  High for images without evidence for any class.

An image is out of distribution if one of the statistics exceeds its limit, which a share `ALARMS` /
4 of the validation images exceeds. So at most about 1% of real images are false alarms, whatever
their distribution. There is no such guarantee for missed alarms.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from mnist_ops.serving.inference import tensors

ALARMS = 0.01
COMPONENTS = 64
NEIGHBOURS = 2000
STATISTICS = ("pattern", "neighbour", "contrast", "recognition")
_TYPES = {
    "mean": "float32",
    "components": "float32",
    "neighbours": "uint8",
    "limits": "float64",
}
# Number of images compared with all neighbours at a time: 8 MB of cosines.
_CHUNK = 1024
# Pixels of an image, all channels, from which on the components are approximated.
_MANY_PIXELS = 1024
_MANY_NUMBERS = 50_000_000


@dataclass(frozen=True, eq=False)
class Detector:
    """Detects out-of-distribution images.

    Attributes:
        mean: float32, shape (pixels,): the mean training image, grey levels 0 to 1.
        components: float32, shape (k, pixels): orthonormal principal components.
        neighbours: uint8: some of the training images.
        limits: float64, shape (4,): limits of `STATISTICS`.
    """

    mean: NDArray[np.float32]
    components: NDArray[np.float32]
    neighbours: NDArray[np.uint8]
    limits: NDArray[np.float64]

    def alarms(
        self, images: NDArray[np.uint8], scores: NDArray[np.float64]
    ) -> list[tuple[str, ...]]:
        """Return for each image the statistics beyond their limits.

        Args:
            images: uint8, shape (n, height, width), or (n, 3, height, width) of colours.
            scores: the model's, shape (n, classes).
        """
        beyond = self.statistics(images, scores) > self.limits
        return [
            tuple(name for name, is_beyond in zip(STATISTICS, row, strict=True) if is_beyond)
            for row in beyond
        ]

    def statistics(
        self, images: NDArray[np.uint8], scores: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the statistics of each image, shape (n, 4)."""
        levels = _flat(images)
        centred = levels - self.mean
        along = centred @ self.components.T
        grid = levels.reshape(images.shape)
        of_image = tuple(range(1, images.ndim))
        steps = sum(np.abs(np.diff(grid, axis=axis)).sum(axis=of_image) for axis in (-2, -1))
        columns = [
            (centred**2).sum(axis=1) - (along**2).sum(axis=1),
            1 - self._nearest_cosine(levels),
            -np.asarray(steps),
            -logsumexp(scores, axis=1),
        ]
        return np.stack(columns, axis=1).astype(np.float64)

    def _nearest_cosine(self, levels: NDArray[np.float32]) -> NDArray[np.float32]:
        neighbours = _of_length_1(_flat(self.neighbours)).T
        units = _of_length_1(levels)
        nearest = [
            (units[i : i + _CHUNK] @ neighbours).max(axis=1) for i in range(0, len(units), _CHUNK)
        ]
        return np.concatenate(nearest or [np.empty(0, np.float32)])


def fit(
    train: NDArray[np.uint8], val: NDArray[np.uint8], val_scores: NDArray[np.float64]
) -> Detector:
    """Fit a detector to the training images, with limits from the validation images.

    Args:
        train: uint8, shape (n, height, width), or (n, 3, height, width) of colours; not sorted by
            class.
        val: likewise, not used in training.
        val_scores: the model's scores of the validation images, shape (m, classes).
    """
    mean, components = _principal(_flat(train[: _fitted_to(train)]).astype(np.float64))
    detector = Detector(
        mean=mean.astype(np.float32),
        components=np.ascontiguousarray(components, np.float32),
        neighbours=train[:NEIGHBOURS],
        limits=np.full(len(STATISTICS), np.inf),
    )
    found = detector.statistics(val, val_scores)
    share = 1 - ALARMS / len(STATISTICS)
    return replace(detector, limits=np.quantile(found, share, axis=0, method="higher"))


def write(path: Path, detector: Detector) -> None:
    """Write `detector` to a safetensors file."""
    tensors.write(path, {name: getattr(detector, name) for name in _TYPES})


def _principal(flat: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean of the images and their first principal components."""
    kept = min(COMPONENTS, len(flat) - 1)
    if flat.shape[1] <= _MANY_PIXELS:
        _, vectors = np.linalg.eigh(np.cov(flat, rowvar=False))
        return flat.mean(axis=0), vectors[:, ::-1][:, :kept].T
    from sklearn.decomposition import PCA

    # Their covariance would take long: 9,000 pixels make a matrix of 650 MB.
    found = PCA(kept, svd_solver="randomized", random_state=0).fit(flat)
    return found.mean_, found.components_


def _fitted_to(train: NDArray[np.uint8]) -> int:
    """Return how many of the training images the components are of: 400 MB of numbers at most."""
    pixels = math.prod(train.shape[1:])
    return len(train) if pixels <= _MANY_PIXELS else max(COMPONENTS + 1, _MANY_NUMBERS // pixels)


def read(path: Path, image_shape: tuple[int, ...]) -> Detector:
    """Read a detector for images of which an array has the shape `image_shape`.

    Raises:
        ModelRefused: the file does not match; see `tensors.read`.
    """
    arrays = tensors.read(path, _TYPES)
    pixels = math.prod(image_shape)
    shapes = {
        "mean": (pixels,),
        "components": (-1, pixels),
        "neighbours": (-1, *image_shape),
        "limits": (len(STATISTICS),),
    }
    for name, shape in shapes.items():
        tensors.shaped(path, name, arrays[name], shape)
    if not len(arrays["neighbours"]):
        raise tensors.ModelRefused(f"model file {path.name} is refused: 'neighbours' is empty")
    return Detector(**arrays)


def _flat(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    levels: NDArray[np.float32] = images.reshape(len(images), math.prod(images.shape[1:])).astype(
        np.float32
    )
    levels /= 255
    return levels


def _of_length_1(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    # The cosine of a blank image to any other is 0.
    units: NDArray[np.float32] = rows / np.maximum(lengths, 1e-6).astype(np.float32)
    return units
