"""Q2: the same trainings on a CPU and on a CUDA device, FashionMNIST."""

from mnist_ops.study.grids import Limits, Preset, Study
from mnist_ops.study.specs import ResNetSpec

STUDY = Study(
    name="device_compare",
    title="Q2 CPU against GPU",
    question="How much faster is a CUDA device than a CPU, at which accuracy?",
    spec=ResNetSpec,
    presets={
        "quick": Preset(seeds=(0,), limits=Limits(train=256, test=512)),
        "paper": Preset(seeds=(0,), limits=Limits()),
        "rigorous": Preset(seeds=(0, 1, 2, 3, 4), limits=Limits()),
    },
    grid={
        "dataset": ("FashionMNIST",),
        "model": ("resnet18", "resnet50"),
        "batch_size": (32,),
        "optimizer": ("SGD", "Adam"),
        "learning_rate": (0.001,),
        "epochs": (2,),
        "pin_memory": (False,),
        "device": ("cpu", "cuda"),
    },
    is_about_time=True,
)
