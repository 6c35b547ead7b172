"""A user's study that reruns a publication, whose numbers are in a CSV file beside it."""

import numpy as np

from mnist_ops.study import (
    Better,
    Content,
    Equal,
    EstimatorSpec,
    Limits,
    OwnData,
    OwnPaper,
    Preset,
    Study,
)


def tree(depth=1, leaf=1, seed=0):
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier(max_depth=depth, min_samples_leaf=leaf, random_state=seed)


def bars():
    """Five classes: a bar at one of five heights, in noise that hides some of them."""
    draw = np.random.default_rng(0)
    labels = np.repeat(np.arange(5), 60)
    images = draw.normal(100, 30, (len(labels), 10, 8))
    for image, label in zip(images, labels, strict=True):
        image[2 * label : 2 * label + 2] += 45
    return Content(images.clip(0, 255).astype(np.uint8), labels)


STUDY = Study(
    name="trees",
    title="Trees",
    question="How deep must a tree be?",
    spec=EstimatorSpec,
    presets={
        "quick": Preset(seeds=(0, 1, 2), limits=Limits(200, 40)),
        "tiny": Preset(seeds=(0, 1), limits=Limits(50, 30)),
    },
    grid={
        "dataset": (OwnData("bars", bars),),
        "model": (tree,),
        "depth": (1, 8),
        "leaf": (1, 2),
        "device": ("cpu",),
    },
    paper=OwnPaper(
        title="On the depth of trees",
        preset="quick",
        published="published.csv",
        source="A. Author, 2020",
        claims=(
            Better("Deep trees are better", {"depth": 8}, {"depth": 1}, by=2, everywhere=True),
            Equal("Depth does not matter", first={"depth": 8}, second={"depth": 1}, within=2),
            Better("Smaller leaves are better", first={"leaf": 1}, second={"leaf": 2}),
        ),
    ),
)
