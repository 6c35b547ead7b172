"""How models and configurations are called in the tables."""

import re
from collections.abc import Mapping

from mnist_ops.core import keys


def model_label(model: str) -> str:
    """``ResNet-18`` for ``resnet18``, ``SVM`` for ``svm``; another name as it is."""
    if match := re.fullmatch(r"resnet(\d+)", model):
        return f"ResNet-{match[1]}"
    return "SVM" if model == "svm" else model


def configuration(params: Mapping[str, object], variant: str = "") -> str:
    """The hyper-parameters in the study's words: ``Adam, lr=0.001, bs=16``.

    Epochs, pin_memory and variant follow where they are given.
    """
    if params.get(keys.MODEL) == "svm":
        kernel = params.get(keys.KERNEL)
        parts = ["RBF" if kernel == "rbf" else str(kernel)]
        shown = {"C": keys.C, "gamma": keys.GAMMA}
    else:
        parts = [str(params.get(keys.OPTIMIZER))]
        shown = {
            "lr": keys.LEARNING_RATE,
            "bs": keys.BATCH_SIZE,
            "epochs": keys.EPOCHS,
            "pin_memory": keys.PIN_MEMORY,
        }
    parts += [f"{short}={params[name]}" for short, name in shown.items() if name in params]
    return ", ".join([*parts, *([variant] if variant else [])])
