"""A registered model: its folder of numbers, and the classification of raw images.

The folder has no code. Its files are

* ``model.json``: the `Description`, checked when it is read,
* ``weights.safetensors``: a torchvision state dict, or the arrays of a scikit-learn `SVC`,
* ``likeness.safetensors``: the detector of out-of-distribution images,
* ``test_predictions.safetensors``: the predictions for its test images.
"""

import dataclasses
import json
import math
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from mnist_ops.core.errors import InvalidInput
from mnist_ops.serving.inference import out_of_distribution, tensors
from mnist_ops.serving.inference.out_of_distribution import Detector
from mnist_ops.serving.inference.tensors import ModelRefused
from mnist_ops.study.dataset import MAX_CLASSES, Dataset, registered_model_of
from mnist_ops.study.method import method_of
from mnist_ops.study.results import Predictions
from mnist_ops.study.specs import Spec, from_canonical

FORMAT = 1
# Folder in the artifacts of a registered model.
FOLDER = "classifier"
DESCRIPTION = "model.json"
WEIGHTS = "weights.safetensors"
DETECTOR = "likeness.safetensors"
TEST_PREDICTIONS = "test_predictions.safetensors"
MAX_SIDE = 4096
_MAX_DESCRIPTION_BYTES = 2**20


@dataclass(frozen=True)
class Description:
    """Description of a model.

    Attributes:
        spec: of the fit.
        dataset_digest: digest of its data set.
        class_names: names of labels 0, 1, ...
        mean: of the training pixels, 0 to 1.
        std: standard deviation of the training pixels.
        temperature: divisor of the scores for calibrated probabilities.
        metrics: by the names of `mnist_ops.core.keys`.
        image_shape: channels, height and width of an image.
    """

    spec: Spec
    dataset_digest: str
    class_names: tuple[str, ...]
    mean: float
    std: float
    temperature: float
    metrics: dict[str, float]
    image_shape: tuple[int, int, int]

    @cached_property
    def data(self) -> Dataset:
        """The form of the images; a user's data set itself need not be here."""
        if not self.spec.data_digest:
            return self.spec.data
        name = self.spec.dataset
        return Dataset(name, self.class_names, self.image_shape, {}, registered_model_of(name))

    def write(self, path: Path) -> None:
        """Write the description as JSON."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        fields |= {"format": FORMAT, "spec": json.loads(self.spec.canonical)}
        path.write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Description":
        """Read the description in the file `path`.

        Raises:
            ModelRefused: the file is missing, damaged, or of another format.
        """
        try:
            if path.stat().st_size > _MAX_DESCRIPTION_BYTES:
                raise ModelRefused(f"model file {path.name} is refused: it is too large")
            fields = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ModelRefused(f"model file {path} cannot be read: {error.strerror}") from None
        except (ValueError, RecursionError):
            raise ModelRefused(f"model file {path.name} is refused: it is not valid JSON") from None
        if not isinstance(fields, dict) or not isinstance(number := fields.get("format"), int):
            raise ModelRefused(f"model file {path.name} is refused: it does not describe a model")
        if number != FORMAT:
            raise ModelRefused(
                f"model file {path.name} has format {number}, and this version reads {FORMAT}: "
                "update mnist-ops"
            )
        try:
            return cls._checked(fields)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ModelRefused(f"model file {path.name} is refused: {reason}") from None

    @classmethod
    def _checked(cls, fields: dict[str, Any]) -> "Description":
        spec, names = from_canonical(json.dumps(fields["spec"])), fields["class_names"]
        if spec.data_digest:
            n_classes = len(names)
            channels, height, width = map(int, fields["image_shape"])
            shape = channels, height, width
            if channels not in (1, 3) or not 0 < min(height, width) <= max(shape) <= MAX_SIDE:
                raise ValueError(f"image_shape is {shape}")
        else:
            n_classes, shape = spec.data.n_classes, spec.data.image_shape
        if not 2 <= len(names) <= MAX_CLASSES or len(names) != n_classes:
            raise ValueError(f"class_names must be {n_classes} names")
        if not all(isinstance(name, str) for name in names):
            raise ValueError("class_names must be texts")
        numbers = {name: float(fields[name]) for name in ("mean", "std", "temperature")}
        metrics = {str(name): float(value) for name, value in fields["metrics"].items()}
        if not all(map(math.isfinite, [*numbers.values(), *metrics.values()])):
            raise ValueError("a number is not finite")
        if numbers["std"] <= 0 or numbers["temperature"] <= 0:
            raise ValueError("std and temperature must be above 0")
        return cls(
            spec=spec,
            dataset_digest=str(fields["dataset_digest"]),
            class_names=tuple(names),
            metrics=metrics,
            image_shape=shape,
            **numbers,
        )


@dataclass(frozen=True, eq=False)
class Answers:
    """Classification of images.

    Attributes:
        classes: uint8, shape (n,).
        probabilities: float64, shape (n, classes); rows sum to 1.
        alarms: for each image the statistics of the `Detector` beyond their limits; empty for an
            image like the training images.
    """

    classes: NDArray[np.uint8]
    probabilities: NDArray[np.float64]
    alarms: list[tuple[str, ...]]


class Scorer(Protocol):
    """A fitted model that classifies raw images."""

    def predict(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """Return the class of each image, shape (n,), and its scores, shape (n, classes)."""


class ModelFormat(Protocol):
    """Interface of the module that reads, writes and applies the models of a method."""

    def write(self, path: Path, made: Any, spec: Spec) -> None:
        """Write a fitted model to a safetensors file; raises `ModelRefused`."""

    def read(self, path: Path, spec: Spec, data: Dataset | None = None) -> Any:
        """Read the model that `write` wrote; raises `ModelRefused`."""

    def scorer(self, spec: Spec, data: Dataset, made: Any, mean: float, std: float) -> Scorer:
        """Return the scorer of a fitted model."""


class Classifier:
    """A model that classifies raw images."""

    def __init__(self, description: Description, scorer: Scorer, detector: Detector):
        """Classify with `scorer`, and check images with `detector`."""
        self.description = description
        self.scorer = scorer
        self.detector = detector

    @classmethod
    def load(cls, folder: Path) -> "Classifier":
        """Load the model in `folder`, written by `write`.

        Raises:
            ModelRefused: a file is missing, damaged or invalid.
            OtherCode: the model is a user's network, whose function is not here as it was.
        """
        description = Description.read(folder / DESCRIPTION)
        spec, data = description.spec, description.data
        made = _format(spec).read(folder / WEIGHTS, spec, data)
        detector = out_of_distribution.read(folder / DETECTOR, data.array_shape)
        fitted = scorer(spec, made, description.mean, description.std, data)
        return cls(description, fitted, detector)

    def answer(self, images: NDArray[np.uint8]) -> Answers:
        """Classify `images`.

        Args:
            images: uint8, shape (n, height, width): grey levels, 0 is background; or with the
                channels of colours, (n, 3, height, width).

        Raises:
            InvalidInput: they have another type or shape.
        """
        shape = self.description.data.array_shape
        if images.dtype != np.uint8 or images.shape[1:] != shape:
            raise InvalidInput(
                f"images are {images.dtype.name} of shape {images.shape}: give uint8 of shape "
                f"(n, {', '.join(map(str, shape))})"
            )
        classes, scores = self.scorer.predict(images)
        probabilities = softmax(scores / self.description.temperature, axis=1)
        return Answers(classes, probabilities, self.detector.alarms(images, scores))


def scorer(spec: Spec, made: Any, mean: float, std: float, data: Dataset | None = None) -> Scorer:
    """Return the scorer of a fitted model, by the method of `spec`, for images as in `data`."""
    return _format(spec).scorer(spec, data or spec.data, made, mean, std)


def write(
    folder: Path,
    description: Description,
    made: Any,
    detector: Detector,
    test: Predictions,
) -> None:
    """Write a model into the empty folder `folder`."""
    description.write(folder / DESCRIPTION)
    _format(description.spec).write(folder / WEIGHTS, made, description.spec)
    out_of_distribution.write(folder / DETECTOR, detector)
    tensors.write(folder / TEST_PREDICTIONS, dataclasses.asdict(test))


def read_test_predictions(folder: Path) -> Predictions:
    """Read the test predictions of the model in `folder`.

    Raises:
        ModelRefused: the file is missing or damaged.
    """
    path = folder / TEST_PREDICTIONS
    types = {"predicted": "uint8", "label": "uint8", "index": "int32"}
    arrays = tensors.read(path, types)
    n_test = arrays["predicted"].size
    for name, array in arrays.items():
        tensors.shaped(path, name, array, (n_test,))
    return Predictions(**arrays)


def _format(spec: Spec) -> ModelFormat:
    return cast(ModelFormat, import_module(method_of(spec).model_format))
