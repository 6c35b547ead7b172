"""Every published number beside the measured one."""

import csv
import dataclasses
import io
import math

import numpy as np
import pytest
from compare_runs import all_tables, cuda_not_measured, evidence, expected, select, store
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from mnist_ops.compare import published
from mnist_ops.compare.agreement import COLUMNS, agreement, to_csv
from pipelines.paper import PAPER as PUBLICATION

PAPER = expected("paper")
ON_CPU = [spec for spec in PAPER if spec.device == "cpu"]
REASONS = cuda_not_measured(PAPER)


def compared(runs, specs=PAPER, reasons=REASONS, preset=None):
    selection = select(runs, lambda preset: specs, reasons, preset)
    return agreement(PUBLICATION, evidence(selection), all_tables(selection))


def one(frame, **wanted):
    for name, value in wanted.items():
        frame = frame[frame[name] == value]
    assert len(frame) == 1
    return frame.iloc[0]


ONE_SEED = "one seed: the range has the chance in the test images alone"
FIRST = "MNIST, ResNet-18, SGD, lr=0.001, bs=16, epochs=5"


def as_published(spec):
    """The accuracy that the study prints for the cell, where it prints one."""
    if spec.model == "svm":
        table = 5 if spec.dataset == "MNIST" else 6
        found = {
            metric: PUBLICATION.published.value(
                table, metric, kernel=spec.kernel, C=spec.C, gamma=spec.gamma
            )
            for metric in (published.ACCURACY, published.F1, published.TRAIN_TIME_S)
        }
        return {
            "test_accuracy": found["accuracy"] / 100,
            "test_f1": found["f1"],
            "train_time_s": found["train_time_s"],
        }
    if spec.study == "device_compare":
        fields = {"model": spec.model, "optimizer": spec.optimizer, "device": spec.device}
        return {
            "test_accuracy": PUBLICATION.published.value(8, published.ACCURACY, **fields) / 100,
            "train_time_s": PUBLICATION.published.value(8, published.TRAIN_TIME_S, **fields),
        }
    fields = dataclasses.asdict(spec)
    axes = ("model", "batch_size", "optimizer", "learning_rate", "epochs")
    table = 2 if spec.dataset == "MNIST" else 3
    value = PUBLICATION.published.value(
        table, published.ACCURACY, **{name: fields[name] for name in axes}
    )
    return {"test_accuracy": value / 100} if value else {}


def test_every_published_number_is_there_in_order():
    frame = compared(store(ON_CPU, "paper"))
    assert tuple(frame.columns) == COLUMNS
    assert len(frame) == len(PUBLICATION.published.numbers) == 160
    assert frame["table"].tolist() == [number.table for number in PUBLICATION.published.numbers]
    assert set(frame["agrees"]) <= {"yes", "no", "not comparable", "not measured"}


def test_published_numbers_in_their_unit():
    frame = compared(store(ON_CPU, "paper"))
    first = one(frame, description=FIRST, table=2)
    assert (first["published"], first["unit"]) == (98.95, "%")
    counts = frame[frame["table"] == 10]
    assert counts["published"].tolist() == [11.18, 33.18, 1.0, 23.52, 78.76, 2.37]
    assert counts["unit"].tolist() == ["M", "M", "×", "M", "M", "×"]


def test_a_repeat_of_one_seed_falls_in_wilsons_interval_times_root_2():
    found = one(compared(store(ON_CPU, "paper")), description=FIRST, table=2)
    low, high = proportion_confint(12_600, 14_000, method="wilson")
    assert found["measured"] == pytest.approx(90.0)
    assert found["difference"] == pytest.approx(90.0 - 98.95)
    wider = (90 - math.sqrt(2) * (90 - 100 * low), 90 + math.sqrt(2) * (100 * high - 90))
    assert (found["low"], found["high"]) == pytest.approx(wider)
    assert found["agrees"] == "no"


def test_what_was_published_agrees_with_itself():
    specs = PAPER
    frame = compared(store(specs, "paper", as_published), reasons={})
    accuracies = frame[(frame["metric"] == "accuracy") & frame["table"].isin([2, 3, 5, 6, 8])]
    assert set(accuracies["agrees"]) == {"yes"}
    assert accuracies["difference"].abs().max() < 0.006
    times = frame[frame["metric"].isin(["train_time_s", "speedup"])]
    assert set(times["agrees"]) == {"not comparable"}
    assert all("depends on the hardware" in note for note in times["note"])
    speedups = frame[frame["metric"] == "speedup"]
    assert speedups["measured"].round(2).tolist() == [5.42, 6.74, 9.53, 10.19]
    f1 = frame[(frame["metric"] == "f1") & (frame["table"] == 5)]
    assert f1["difference"].abs().max() == pytest.approx(0)
    assert set(f1["agrees"]) == {"yes"}


def test_seeds_have_a_prediction_interval():
    specs = [dataclasses.replace(spec, seed=seed) for spec in ON_CPU for seed in range(3)]
    values = {0: 0.985, 1: 0.990, 2: 0.992}
    runs = store(specs, "paper", lambda s: {"test_accuracy": values[s.seed], "test_f1": 0.98})
    frame = compared(runs, specs, {})
    found = one(frame, description=FIRST, table=2)
    points = [100 * value for value in values.values()]
    half = stats.t.ppf(0.975, 2) * np.std(points, ddof=1) * math.sqrt(1 + 1 / 3)
    assert found["low"] == pytest.approx(np.mean(points) - half)
    # No accuracy is above 100%.
    assert np.mean(points) + half > 100
    assert found["high"] == 100
    assert found["agrees"] == "yes"


def test_seeds_that_lie_together_leave_the_chance_in_the_test_images():
    specs = [dataclasses.replace(spec, seed=seed) for spec in ON_CPU for seed in range(3)]
    frame = compared(store(specs, "paper", lambda spec: {"test_f1": 0.98}), specs, {})
    f1 = one(frame, description="MNIST, ResNet-18, Adam, lr=0.001, bs=16, epochs=5", metric="f1")
    low, high = proportion_confint(13_720, 14_000, method="wilson")
    # Of the mean of three and of one more.
    wider = math.sqrt(1 + 1 / 3)
    expected_range = (0.98 - wider * (0.98 - low), 0.98 + wider * (high - 0.98))
    assert (f1["low"], f1["high"]) == pytest.approx(expected_range)
    assert f1["agrees"] == "no"
    assert f1["note"].endswith("3 seeds: the range has the chance in the test images alone")


def few_seeds(accuracies):
    """The paper cells with seed 0, and one configuration with more; `accuracies` by seed."""
    repeated = [
        dataclasses.replace(spec, seed=seed)
        for spec in ON_CPU
        if (spec.model, spec.dataset) == ("resnet18", "MNIST")
        and (spec.optimizer, spec.learning_rate, spec.batch_size) == ("Adam", 0.0001, 32)
        for seed in range(1, len(accuracies))
    ]
    specs = [*ON_CPU, *repeated]
    runs = store(specs, "paper", lambda s: {"test_accuracy": accuracies[s.seed], "test_f1": 0.98})
    return compared(runs, specs, {})


def test_one_seed_has_the_spread_of_seeds_of_its_network_and_data_set():
    accuracies = [0.935, 0.940, 0.920, 0.942]
    frame = few_seeds(accuracies)
    found = one(frame, description=FIRST, table=2)
    deviation = 100 * np.std(accuracies, ddof=1)
    half = stats.t.ppf(0.975, 3) * deviation * math.sqrt(2)
    assert (found["low"], found["high"]) == pytest.approx((93.5 - half, 93.5 + half))
    assert found["agrees"] == "no"
    # Another network's, or another data set's, tells nothing: those have the test images alone.
    low, high = proportion_confint(13_090, 14_000, method="wilson")
    wider = (93.5 - math.sqrt(2) * (93.5 - 100 * low), 93.5 + math.sqrt(2) * (100 * high - 93.5))
    for description in (FIRST.replace("18", "50"), FIRST.replace("MNIST", "FashionMNIST")):
        other = one(frame[frame["table"] < 4], description=description)
        assert (other["low"], other["high"]) == pytest.approx(wider)


def test_a_number_that_disagrees_says_which_seeds_its_range_is_from():
    frame = few_seeds([0.93, 0.94, 0.935])
    found = one(frame, description=FIRST, table=2)
    assert found["agrees"] == "no"
    assert found["note"] == (
        "one seed: the range has the spread of 3 seeds of one configuration of this model and "
        "data set"
    )


def test_one_seed_is_never_known_better_than_its_test_images_allow():
    found = one(few_seeds([0.9, 0.9, 0.9001]), description=FIRST, table=2)
    low, high = proportion_confint(12_600, 14_000, method="wilson")
    assert found["high"] - found["low"] == pytest.approx(100 * math.sqrt(2) * (high - low))
    assert found["note"] == ONE_SEED


def test_two_seeds_are_judged_by_those_that_all_have():
    specs = [
        dataclasses.replace(spec, seed=seed)
        for spec in ON_CPU
        for seed in range(2 if getattr(spec, "optimizer", "") == "SGD" else 4)
    ]
    accuracies = [0.935, 0.940, 0.920, 0.942]
    frame = compared(
        store(specs, "paper", lambda s: {"test_accuracy": accuracies[s.seed]}), specs, {}
    )
    found = one(frame, description=FIRST, table=2)
    # 8 configurations of a network at 5 epochs: pinned memory or not is one training.
    assert found["measured"] == pytest.approx(93.75)
    # The seeds that all of them have: others may have been added because of these.
    deviation = 100 * np.std(accuracies[:2], ddof=1)
    half = stats.t.ppf(0.975, 1) * deviation * math.sqrt(1 + 1 / 2)
    expected_range = (max(93.75 - half, 0), min(93.75 + half, 100))
    assert (found["low"], found["high"]) == pytest.approx(expected_range)


def test_what_was_not_measured_says_why():
    runs = store(ON_CPU, "paper")
    runs.loc[(runs["model"] == "svm") & (runs["C"] == 0.1), "status"] = "FAILED"
    frame = compared(runs)
    gpu = frame[frame["description"].str.endswith("GPU")]
    assert set(gpu["agrees"]) == {"not measured"}
    assert set(gpu["note"]) == {"not measured: no CUDA device"}
    assert gpu[["measured", "difference", "low", "high"]].isna().all().all()
    failed = frame[frame["description"] == "MNIST, SVM, poly, C=0.1, gamma=scale"]
    assert set(failed["note"]) == {"failed"}


def test_counts_agree_to_their_last_digit():
    frame = compared(store(ON_CPU, "paper"))
    assert set(frame[frame["table"] == 10]["agrees"]) == {"yes"}
    other = compared(store(ON_CPU, "paper", lambda spec: {"flops": 33_190_000.0}))
    # Parameters are still right; of the FLOPs and the ratio only the reference's, to itself.
    agrees = ["yes", "no", "yes", "yes", "no", "no"]
    assert other[other["table"] == 10]["agrees"].tolist() == agrees


def test_the_studys_own_choice_stands_beside_ours():
    def change(spec):
        adam = getattr(spec, "optimizer", "") == "Adam"
        return {"val_accuracy": 0.9 if adam else 0.8, "test_accuracy": 0.95 if adam else 0.97}

    frame = compared(store(ON_CPU, "paper", change))
    best = one(
        frame,
        table=11,
        metric="accuracy",
        description="MNIST, ResNet-18, Adam, lr=0.001, bs=16, epochs=5",
    )
    assert best["measured"] == pytest.approx(95.0)
    assert best["note"] == f"chosen on validation; best on test, the study's way: 97; {ONE_SEED}"


def test_improvement_has_the_interval_of_its_comparison():
    specs = [dataclasses.replace(spec, seed=seed) for spec in ON_CPU for seed in range(3)]
    runs = store(specs, "paper", lambda s: {"test_accuracy": 0.95 if s.model == "svm" else 0.99})
    found = one(compared(runs, specs, {}), metric="improvement", published=3.41)
    assert found["measured"] == pytest.approx(4.0)
    assert found["low"] < 4.0 < found["high"]
    assert found["unit"] == "points"


def test_another_size_is_named():
    quick = [spec for spec in expected("quick") if spec.device == "cpu"]
    frame = compared(store(quick), quick)
    size = "not the study's size (quick: a few hundred images a run, 1 seed)"
    assert one(frame, description=FIRST, table=2)["note"] == size
    # Neither accuracies nor times; what a network has of parameters and FLOPs stays the same.
    counts = frame["table"] == 10
    measured = frame[~counts & (frame["agrees"] != "not measured")]
    assert set(measured["agrees"]) == {"not comparable"}
    assert all(size in note for note in measured["note"])
    assert set(frame[counts]["agrees"]) == {"yes"}
    assert "size" not in one(compared(store(ON_CPU, "paper")), description=FIRST, table=2)["note"]


def test_csv_is_the_same_twice():
    runs = store(ON_CPU, "paper")
    text = to_csv(compared(runs))
    assert text == to_csv(compared(runs.sample(frac=1, random_state=2)))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 160
    assert (rows[0]["published"], rows[0]["measured"], rows[0]["agrees"]) == ("98.95", "90", "no")
