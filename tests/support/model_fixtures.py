"""Small models, fitted to the small data sets, as folders: made once a session."""

import dataclasses
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import specs
from data_fixtures import fixture_images

from mnist_ops.serving import inference
from mnist_ops.serving.champions import refit
from mnist_ops.study.specs import Spec

SVM = dataclasses.replace(specs.SVM, train_limit=300, test_limit=100)
NETWORK = dataclasses.replace(specs.RESNET, train_limit=100, test_limit=100)


@cache
def fitted(spec: Spec) -> refit.Refit:
    """The model of `spec`."""
    return refit.refit(spec, fixture_images(spec.dataset))


def write_model(spec: Spec, folder: Path) -> Path:
    """The folder of the model of `spec`, below `folder`."""
    model = Path(tempfile.mkdtemp(dir=folder))
    made = fitted(spec)
    inference.write(model, made.description, made.made, made.detector, made.test)
    return model


class Malicious:
    """Pickled, it is a command."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self.mark,))
