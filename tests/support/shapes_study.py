"""A user's study: a network, estimators and a data set of its own, in one file."""

import numpy as np
from torch import nn

from mnist_ops.study import (
    Content,
    EstimatorSpec,
    Limits,
    NetworkSpec,
    OwnData,
    Preset,
    Study,
)


def small_cnn(image_shape, n_classes, width=8, dropout=0.0):
    return nn.Sequential(
        nn.Conv2d(image_shape[0], width, 3, stride=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(16 * width, n_classes),
    )


def forest(trees=5, seed=0):
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(trees, random_state=seed)


def shapes():
    """Colour images of five classes, of unequal number."""
    draw = np.random.default_rng(0)
    labels = np.repeat(np.arange(5), (60, 40, 80, 30, 50))
    images = draw.integers(0, 120, (len(labels), 12, 16, 3), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[2 * label : 2 * label + 4, 3:12, label % 3] += 130
    return Content(images, labels, ("bar", "beam", "block", "line", "slab"))


SHAPES = OwnData("shapes", shapes)
PRESETS = {"quick": Preset(seeds=(0, 1), limits=Limits(80, 40))}

STUDY = Study(
    name="widths",
    title="Widths",
    question="Does a wider network or more dropout help?",
    spec=NetworkSpec,
    presets=PRESETS,
    grid={
        "dataset": (SHAPES,),
        "model": (small_cnn,),
        "width": (4, 8),
        "dropout": (0.0, 0.5),
        "weight_decay": (0.0, 0.01),
        "epochs": (1, 2),
        "batch_size": (16,),
        "optimizer": ("Adam",),
        "learning_rate": (0.01,),
        "device": ("auto",),
    },
)
ESTIMATORS = Study(
    name="estimators",
    title="Estimators",
    question="Which estimator is best?",
    spec=EstimatorSpec,
    presets=PRESETS,
    grid={
        "dataset": (SHAPES, "MNIST"),
        "model": (forest, "sklearn.neighbors:KNeighborsClassifier"),
        "trees": (2, 8),
        "n_neighbors": (3,),
        "device": ("cpu",),
    },
)
