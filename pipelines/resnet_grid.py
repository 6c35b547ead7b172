"""Q1(a): ResNet-18 and ResNet-50 on both data sets, over the study's hyper-parameters."""

from mnist_ops.study.grids import Limits, Preset, Study
from mnist_ops.study.specs import ResNetSpec

STUDY = Study(
    name="resnet_grid",
    title="Q1(a) ResNet grid",
    question="Which ResNet and which hyper-parameters classify MNIST and FashionMNIST best?",
    spec=ResNetSpec,
    presets={
        "quick": Preset(seeds=(0,), limits=Limits(train=256, test=512)),
        "paper": Preset(seeds=(0,), limits=Limits()),
        "rigorous": Preset(seeds=(0, 1, 2, 3, 4), limits=Limits()),
    },
    grid={
        "dataset": ("MNIST", "FashionMNIST"),
        "model": ("resnet18", "resnet50"),
        "batch_size": (16, 32),
        "optimizer": ("SGD", "Adam"),
        "learning_rate": (0.001, 0.0001),
        "epochs": (2, 5),
        "pin_memory": (False, True),
        "device": ("auto",),
    },
)
