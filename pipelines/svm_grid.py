"""Q1(b): support vector machines as the traditional baseline, over kernel, C and gamma."""

from mnist_ops.study.grids import Study
from mnist_ops.study.specs import SvmSpec
from pipelines import presets

STUDY = Study(
    name="svm_grid",
    title="Q1(b) SVM grid",
    question="How far does a support vector machine get, and with which kernel, C and gamma?",
    spec=SvmSpec,
    presets=presets.SVM,
    grid={
        "dataset": ("MNIST", "FashionMNIST"),
        "kernel": ("poly", "rbf"),
        "gamma": ("scale", "auto"),
        "C": (0.1, 1.0, 10.0),
        "device": ("cpu",),
    },
)
