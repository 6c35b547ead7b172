"""Use a fitted model: read it from a folder of numbers, and classify images with it.

`Classifier.load` reads a folder that `write` made, `Classifier.answer` classifies, `pictures` turns
image files into what it takes. Nothing here knows MLflow or the data sets, and nothing that is read
is run: a registered model takes this package with it and needs no more (see
`mnist_ops.serving.registry`).
"""

from mnist_ops.serving.inference.classifier import (
    FOLDER,
    TEST_PREDICTIONS,
    Answers,
    Classifier,
    Description,
    ModelPredictions,
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
    "ModelPredictions",
    "ModelRefused",
    "read_test_predictions",
    "scorer",
    "write",
]
