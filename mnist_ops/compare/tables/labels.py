"""How models and configurations are called in the tables."""

import re
from collections.abc import Mapping

from mnist_ops.core import keys

_SHORT = {
    keys.LEARNING_RATE: "lr",
    keys.BATCH_SIZE: "bs",
    keys.EPOCHS: "epochs",
    keys.PIN_MEMORY: "pin_memory",
    keys.C: "C",
    keys.GAMMA: "gamma",
}


def model_label(model: str) -> str:
    """Return the title of a model: ``ResNet-N`` of ``resnetN``, ``SVM`` of ``svm``, or its name."""
    if match := re.fullmatch(r"resnet(\d+)", model):
        return f"ResNet-{match[1]}"
    return "SVM" if model == "svm" else model


def configuration(params: Mapping[str, object], variant: str = "") -> str:
    """Return the hyper-parameters that are given, in short: ``Adam, lr=0.001, bs=16``."""
    named = [str(params[name]) for name in (keys.OPTIMIZER, keys.KERNEL) if name in params]
    parts = ["RBF" if name == "rbf" else name for name in named]
    parts += [f"{short}={params[name]}" for name, short in _SHORT.items() if name in params]
    return ", ".join([*parts, *([variant] if variant else [])])
