"""The printed numbers are the study's, and typed."""

import pandas as pd
import pytest

from pipelines.paper import PAPER

find = PAPER.published.find

# Copied from the study's report by hand, some of every table: table, metric, printed, params.
SAMPLE = [
    (2, "accuracy", "98.95", {"model": "resnet18", "batch_size": 16, "optimizer": "SGD"}),
    (2, "accuracy", "98.70", {"model": "resnet50", "batch_size": 32, "learning_rate": 0.001}),
    (2, "accuracy", "97.02", {"model": "resnet50", "optimizer": "Adam", "batch_size": 32,
                              "learning_rate": 0.0001}),
    (3, "accuracy", "83.60", {"model": "resnet50", "optimizer": "SGD", "batch_size": 32,
                              "learning_rate": 0.0001}),
    (3, "accuracy", "90.76", {"model": "resnet18", "optimizer": "Adam", "batch_size": 32,
                              "learning_rate": 0.001}),
    (4, "accuracy", "98.52", {"optimizer": "Adam", "pin_memory": True, "epochs": 5}),
    (4, "accuracy", "98.46", {"optimizer": "SGD", "pin_memory": False, "epochs": 2}),
    (5, "accuracy", "38.30", {"kernel": "poly", "C": 0.1, "gamma": "auto"}),
    (5, "f1", "0.579", {"kernel": "poly", "C": 0.1, "gamma": "scale"}),
    (5, "train_time_s", "9.8", {"kernel": "rbf", "C": 10.0, "gamma": "auto"}),
    (6, "accuracy", "86.30", {"kernel": "rbf", "C": 10.0, "gamma": "scale"}),
    (6, "f1", "0.783", {"kernel": "rbf", "C": 0.1, "gamma": "auto"}),
    (6, "train_time_s", "21.3", {"kernel": "poly", "C": 0.1, "gamma": "auto"}),
    (7, "accuracy", "95.60", {"dataset": "MNIST", "model": "svm", "kernel": "rbf"}),
    (7, "improvement", "+4.46%", {"dataset": "FashionMNIST"}),
    (8, "accuracy", "86.14%", {"device": "cuda", "optimizer": "Adam", "model": "resnet18"}),
    (8, "train_time_s", "1064.1s", {"device": "cpu", "optimizer": "SGD", "model": "resnet50"}),
    (9, "train_time_s", "125.7", {"device": "cuda", "optimizer": "Adam", "model": "resnet50"}),
    (9, "speedup", "10.19×", {"optimizer": "Adam", "model": "resnet50"}),
    (10, "parameters", "23.52M", {"model": "resnet50"}),
    (10, "flops", "33.18M", {"model": "resnet18"}),
    (10, "relative_complexity", "2.37×", {"model": "resnet50"}),
    (11, "accuracy", "99.01%", {"dataset": "MNIST", "model": "resnet18", "batch_size": 16}),
    (11, "f1", "0.862", {"dataset": "FashionMNIST", "model": "svm"}),
]  # fmt: skip


@pytest.mark.parametrize(("table", "metric", "printed", "params"), SAMPLE)
def test_number_stands_as_printed(table, metric, printed, params):
    number = find(table, metric, **params)
    assert number is not None
    assert number.printed == printed


def test_every_table_is_complete():
    counts = (
        pd.Series([number.table for number in PAPER.published.numbers]).value_counts().to_dict()
    )
    assert counts == {2: 16, 3: 16, 4: 8, 5: 36, 6: 36, 7: 6, 8: 16, 9: 12, 10: 6, 11: 8}


def test_units_are_read():
    assert find(10, "flops", model="resnet50").value == 78_760_000
    assert find(9, "speedup", model="resnet18", optimizer="SGD").value == 5.43
    assert find(7, "improvement", dataset="MNIST").value == 3.41
    assert find(8, "train_time_s", device="cpu", model="resnet18", optimizer="SGD").value == 341.6


def test_precision_in_print_is_kept():
    assert find(2, "accuracy", model="resnet50", batch_size=32, learning_rate=0.001).decimals == 2
    assert find(10, "relative_complexity", model="resnet18").decimals == 1


def test_published_numbers_agree_with_each_other():
    for optimizer in ("SGD", "Adam"):
        for model in ("resnet18", "resnet50"):
            at = {"model": model, "optimizer": optimizer}
            for device in ("cpu", "cuda"):
                time = find(8, "train_time_s", device=device, **at).value
                assert time == find(9, "train_time_s", device=device, **at).value
    assert find(2, "accuracy", batch_size=16, optimizer="Adam", learning_rate=0.001).value == 99.01
    assert find(4, "accuracy", optimizer="Adam", epochs=5, pin_memory=False).value == 99.01


def test_a_cell_that_the_study_lacks_has_no_number():
    assert find(2, "accuracy", batch_size=64) is None
    assert PAPER.published.value(2, "accuracy", batch_size=64) == ""
