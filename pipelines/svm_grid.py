"""Q1(b): support vector machines as the traditional baseline, over kernel, C and gamma."""

from mnist_ops.study.grids import Limits, Preset, Study
from mnist_ops.study.specs import SvmSpec

STUDY = Study(
    name="svm_grid",
    title="Q1(b) SVM grid",
    question="How far does a support vector machine get, and with which kernel, C and gamma?",
    spec=SvmSpec,
    presets={
        "quick": Preset(seeds=(0,), limits=Limits(train=512, test=512)),
        "paper": Preset(seeds=(0,), limits=Limits(train=10_000, test=2_000)),
        "rigorous": Preset(seeds=(0, 1, 2, 3, 4), limits=Limits()),
    },
    grid={
        "dataset": ("MNIST", "FashionMNIST"),
        "kernel": ("poly", "rbf"),
        "gamma": ("scale", "auto"),
        "C": (0.1, 1.0, 10.0),
        "device": ("cpu",),
    },
)
