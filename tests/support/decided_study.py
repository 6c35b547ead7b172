"""A study of estimators whose accuracy a table tells by seed, and claims about it."""

import dataclasses

import numpy as np

from mnist_ops.compare import generic
from mnist_ops.compare.findings import rules
from mnist_ops.compare.findings.claim import Claim, Section
from mnist_ops.compare.findings.contrast import contrast
from mnist_ops.core import keys
from mnist_ops.study import Content, EstimatorSpec, Limits, OwnData, Preset, Study

N_TEST = 60
FIRST = (0, 1, 2)


class OftenRight:
    """Right but for so many of its first predictions."""

    def __init__(self, wrong):
        self.wrong = wrong

    def fit(self, images, labels):
        return self

    def predict(self, images):
        # The images of a class have its brightness.
        found = np.rint(images.mean(axis=1) * 255 / 40).astype(int)
        found[: self.wrong] = (found[: self.wrong] + 1) % 5
        return found


def sharp(seed=0):
    return OftenRight(seed % 2)


def blunt(seed=0):
    return OftenRight(40 + seed % 3)


def rather_right(seed=0):
    """Better than `rather_wrong` by 12 points, which three seeds do not show, and five do."""
    return OftenRight(1 + seed % 2)


def rather_wrong(seed=0):
    return OftenRight(8 + seed % 3)


def fading(seed=0):
    """Better than `constant` by 10 points at first, and then worse as often as better."""
    return OftenRight(3 + seed % 2 if seed in FIRST else 5 + 8 * (seed % 2))


def constant(seed=0):
    return OftenRight(9 + seed % 2)


def brightness():
    labels = np.repeat(np.arange(5), 80)
    images = np.repeat(labels.astype(np.uint8) * 40, 64).reshape(-1, 8, 8)
    return Content(images, labels, ("black", "dark", "grey", "light", "white"))


STUDY = Study(
    name="pairs",
    title="Pairs",
    question="Which of two is better?",
    spec=EstimatorSpec,
    presets={
        "one": Preset(seeds=(0,), limits=Limits(240, N_TEST)),
        "three": Preset(seeds=FIRST, limits=Limits(240, N_TEST)),
    },
    grid={
        "dataset": (OwnData("brightness", brightness),),
        "model": (sharp, blunt, rather_right, rather_wrong, fading, constant),
        "device": ("cpu",),
    },
)


def _claim(name, first, second):
    def hypothesis(evidence):
        """The first is better in every configuration, by `rules.consistent`."""
        cells = evidence.cells(STUDY.name)
        return rules.consistent(
            evidence, contrast(cells, {keys.MODEL: first}, {keys.MODEL: second})
        )

    return Claim(name, f"{first} is better than {second}", lambda: "", hypothesis)


PAPER = dataclasses.replace(
    generic.paper_of([STUDY]),
    claims=(
        Section(
            "Pairs",
            (
                _claim("1", "sharp", "blunt"),
                _claim("2", "rather_right", "rather_wrong"),
                _claim("3", "fading", "constant"),
            ),
        ),
    ),
)
