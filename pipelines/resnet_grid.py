"""Q1(a): ResNet-18 and ResNet-50 on both data sets, over the study's hyper-parameters."""

from mnist_ops.study.grids import Study
from mnist_ops.study.specs import ResNetSpec
from pipelines import presets

STUDY = Study(
    name="resnet_grid",
    title="Q1(a) ResNet grid",
    question="Which ResNet and which hyper-parameters classify MNIST and FashionMNIST best?",
    spec=ResNetSpec,
    presets=presets.RESNET,
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
