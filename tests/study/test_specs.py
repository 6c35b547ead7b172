"""Specs: what is allowed, and what names a cell."""

import dataclasses
import subprocess
import sys

import pytest
import specs

from mnist_ops.core.errors import InvalidInput
from mnist_ops.study.specs import ResNetSpec

RESNET = dataclasses.replace(specs.RESNET, epochs=5)
SVM = dataclasses.replace(specs.SVM, dataset="FashionMNIST")


def test_names() -> None:
    assert RESNET.name == "resnet18-mnist-adam-lr0.001-bs16-e5-pin0-s0"
    assert dataclasses.replace(
        RESNET, learning_rate=0.0001, pin_memory=True, seed=3, device="cuda"
    ).name == ("resnet18-mnist-adam-lr0.0001-bs16-e5-pin1-s3-cuda")
    assert SVM.name == "svm-fashionmnist-rbf-c10-gscale-s0"
    official = dataclasses.replace(SVM, parts="official")
    assert official.name == "svm-fashionmnist-rbf-c10-gscale-s0-official"


def test_descriptions_are_sentences() -> None:
    assert RESNET.description == (
        "resnet18 on MNIST: Adam, learning rate 0.001, batch size 16, 5 epochs; bfloat16 on cpu, "
        "seed 0"
    )
    assert SVM.description == "SVM on FashionMNIST: rbf kernel, C 10, gamma scale; seed 0"


def test_fingerprints_are_pinned() -> None:
    """A change here gives up every finished run in every store: it must be meant."""
    assert RESNET.fingerprint == "8641edc5a0bc694e"
    assert SVM.fingerprint == "6248d93e114c8ac7"


def test_equal_numbers_are_equal_experiments() -> None:
    assert dataclasses.replace(SVM, C=10).fingerprint == SVM.fingerprint


def test_fingerprint_is_the_same_in_another_process() -> None:
    code = (
        "from mnist_ops.study.specs import SvmSpec; print(SvmSpec(study='svm_grid',"
        "dataset='FashionMNIST', kernel='rbf', C=10.0).fingerprint)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == SVM.fingerprint


OTHER_VALUES = {
    "study": "device_compare",
    "dataset": "FashionMNIST",
    "model": "resnet50",
    "seed": 1,
    "device": "cuda",
    "train_limit": 100,
    "test_limit": 100,
    "batch_size": 32,
    "optimizer": "SGD",
    "learning_rate": 0.01,
    "epochs": 2,
    "pin_memory": True,
    "momentum": 0.5,
    "precision": "float32",
    "plain": True,
    "parts": "official",
    "data_digest": "0123456789abcdef",
    "code": "0123456789abcdef",
    "arguments": (("width", 3),),
    "weight_decay": 0.01,
    "label_smoothing": 0.1,
    "schedule": "cosine",
    "augmentation": "shift",
}


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(ResNetSpec)])
def test_every_field_is_part_of_the_identity(field: str) -> None:
    other = dataclasses.replace(RESNET, **{field: OTHER_VALUES[field]})
    assert other.fingerprint != RESNET.fingerprint


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("dataset", "CIFAR10", "MNIST, FashionMNIST"),
        ("model", "vgg", "resnet18, resnet50"),
        ("optimizer", "adam", "SGD, Adam"),
        ("learning_rate", 0.0, "positive"),
        ("learning_rate", float("nan"), "positive"),
        ("learning_rate", "fast", "positive"),
        ("batch_size", 1, "at least 2"),
        ("batch_size", 16.5, "whole number"),
        ("epochs", 0, "at least 1"),
        ("epochs", True, "whole number"),
        ("seed", -1, "at least 0"),
        ("device", "tpu", "cpu, cuda"),
        ("train_limit", 9, "at least 10"),
        ("test_limit", -5, "at least 0"),
        ("precision", "int8", "bfloat16"),
        ("precision", "float16", "cuda"),
        ("pin_memory", "yes", "true or false"),
        ("momentum", 1.0, "below 1"),
        ("augmentation", "mixup", "none, shift, flip, shift-flip"),
    ],
)
def test_refusal_names_field_and_allowed_values(field: str, value: object, told: str) -> None:
    with pytest.raises(InvalidInput, match=field) as caught:
        dataclasses.replace(RESNET, **{field: value})
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("kernel", "cubic", "linear, poly, rbf"),
        ("C", -1.0, "positive"),
        ("gamma", "wide", "scale, auto"),
        ("gamma", 0.0, "positive"),
        ("degree", 0, "at least 1"),
        ("device", "cuda", "cpu"),
    ],
)
def test_svm_refusals(field: str, value: object, told: str) -> None:
    with pytest.raises(InvalidInput, match=field) as caught:
        dataclasses.replace(SVM, **{field: value})
    assert told in str(caught.value)


def test_validation_images_keep_the_splits_proportion() -> None:
    assert dataclasses.replace(RESNET, train_limit=7000).val_limit == 1000
    assert dataclasses.replace(RESNET, train_limit=10).val_limit == 10
    assert RESNET.val_limit == 0
