"""Load a fitted model from a folder of numbers, and classify images with it.

`Classifier.load` reads a folder that `write` wrote, `Classifier.answer` classifies images, and
`preprocessing` converts image files to its input. This package uses neither MLflow nor data sets,
and executes nothing that it reads: a registered model contains a copy of it (see
`mnist_ops.serving.registry`).
"""

from mnist_ops.serving.inference.classifier import (
    FOLDER,
    TEST_PREDICTIONS,
    Answers,
    Classifier,
    Description,
    read_test_predictions,
    scorer,
    write,
)
from mnist_ops.serving.inference.tensors import ModelRefused

__all__ = [
    "FOLDER",
    "TEST_PREDICTIONS",
    "Answers",
    "Classifier",
    "Description",
    "ModelRefused",
    "read_test_predictions",
    "scorer",
    "write",
]
