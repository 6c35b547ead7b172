"""Specs of small cells, which tests vary with `dataclasses.replace`."""

import dataclasses

from mnist_ops.study.specs import ResNetSpec, SvmSpec

RESNET = ResNetSpec(
    study="resnet_grid",
    dataset="MNIST",
    model="resnet18",
    batch_size=16,
    optimizer="Adam",
    learning_rate=0.001,
    epochs=2,
)
SVM = SvmSpec(study="svm_grid", dataset="MNIST", kernel="rbf", C=10.0)


def network_spec(model: str, seed: int = 0) -> ResNetSpec:
    """A training of the network called `model` on MNIST."""
    return dataclasses.replace(RESNET, model=model, seed=seed)
