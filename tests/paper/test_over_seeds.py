"""Means over seeds and differences of two configurations, with all seeds of both."""

import dataclasses
import math

import numpy as np
import pytest
from compare_runs import evidence, expected, select, store
from scipy import stats

from mnist_ops.compare.best_pairs import best_pairs
from mnist_ops.compare.over_seeds import accuracy_interval, difference
from mnist_ops.compare.tables.champion import by_configuration
from pipelines.paper import PAPER
from pipelines.paper.tables.best import gain

SPECS = [spec for spec in expected("paper") if spec.device == "cpu"]
SVMS = [spec for spec in SPECS if spec.study == "svm_grid"]
NETWORKS = [spec for spec in SPECS if spec.study == "resnet_grid"]
SIZES = {"n_train": 40_000, "n_test": 10_000}


def selection(specs, change):
    specs = list(specs)
    return select(store(specs, "paper", change), lambda preset: SPECS, {}, "paper")


def seeds(specs, count):
    return [dataclasses.replace(spec, seed=seed) for spec in specs for seed in range(count)]


def groups_of(chosen, **params):
    cells = [c for c in chosen.cells if c.finished]
    cells = [c for c in cells if all(c.params.get(k) == v for k, v in params.items())]
    return by_configuration(cells)


def test_all_seeds_of_both_sides_count() -> None:
    of_rbf = [0.95, 0.96, 0.94, 0.97, 0.95, 0.93, 0.95]
    of_poly = [0.90, 0.92, 0.91, 0.88, 0.92]
    rbf = seeds([s for s in SVMS if s.kernel == "rbf"][:1], 7)
    # Other seeds: common ones would make the test a paired one.
    first_poly = next(s for s in SVMS if s.kernel == "poly")
    poly = [dataclasses.replace(first_poly, seed=10 + seed) for seed in range(5)]

    def change(spec):
        of = of_rbf if spec.kernel == "rbf" else of_poly
        return {"test_accuracy": of[spec.seed % 10], **SIZES}

    chosen = selection([*rbf, *poly], change)
    (first,), (second,) = (groups_of(chosen, kernel=kernel) for kernel in ("rbf", "poly"))
    assert (len(first), len(second)) == (7, 5)
    found = difference(chosen, first, second)
    assert found is not None
    effect = 100 * (np.mean(of_rbf) - np.mean(of_poly))
    assert found.comparison.effect == pytest.approx(effect)
    variances = [100**2 * np.var(of, ddof=1) for of in (of_rbf, of_poly)]
    of_means = [v * (1 / n + 0.25) for v, n in zip(variances, (7, 5), strict=True)]
    degrees = sum(of_means) ** 2 / (of_means[0] ** 2 / 6 + of_means[1] ** 2 / 4)
    low, high = stats.t.interval(0.95, degrees, effect, math.sqrt(sum(of_means)))
    assert found.comparison.interval == pytest.approx((low, high))
    p_value = 2 * stats.t.sf(effect / math.sqrt(sum(of_means)), degrees)
    assert found.comparison.p_value == pytest.approx(p_value)
    # One more run of each varies as a run does, and as the means do.
    of_runs = [v * (1 + 1 / n) for v, n in zip(variances, (7, 5), strict=True)]
    half = (found.of_another[1] - found.of_another[0]) / 2
    assert sum(found.of_another) / 2 == pytest.approx(effect)
    freedom = sum(of_runs) ** 2 / (of_runs[0] ** 2 / 6 + of_runs[1] ** 2 / 4)
    assert half == pytest.approx(stats.t.ppf(0.975, freedom) * math.sqrt(sum(of_runs)))


def test_one_seed_does_not_look_surer_than_three() -> None:
    accuracies = [0.97, 0.99, 0.95]
    specs = [s for s in NETWORKS if s.dataset == "MNIST" and not s.pin_memory]
    few, many = specs[:1], specs[1:4]

    def change(spec):
        return {"test_accuracy": accuracies[spec.seed]}

    chosen = selection([*few, *seeds(many, 3)], change)
    by_seeds = {len(group): group for group in groups_of(chosen, epochs=few[0].epochs)}
    (one, three) = (accuracy_interval(chosen, by_seeds[n]) for n in (1, 3))
    assert one is not None
    assert three is not None
    width = one[1] - one[0]
    assert width > three[1] - three[0]
    # Wilson's alone would be 0.6 points wide.
    assert width > 4


def test_table_7_the_headlines_and_the_range_are_one_number() -> None:
    def change(spec):
        apart = [0.0, 0.004, -0.005, 0.003, 0.001]
        base = 0.9 if spec.study == "svm_grid" else 0.95
        return {"test_accuracy": base + apart[spec.seed], "val_accuracy": base}

    specs = [*seeds(SVMS, 5), *seeds(NETWORKS, 2)]
    chosen = selection(specs, change)
    found = gain(evidence(chosen), "MNIST")
    assert found is not None
    table = next(t for t in PAPER.build_tables(chosen) if t.number == 7).frame
    rows = table[(table["dataset"] == "MNIST") & (table["chosen_on"] == "validation")]
    measured = rows["improvement_points_measured"].iloc[-1]
    assert measured == pytest.approx(found.comparison.effect)
    assert sum(found.of_another) / 2 == pytest.approx(measured)
    low, high = found.comparison.interval or (0, 0)
    assert found.of_another[1] - found.of_another[0] > high - low


def test_the_best_are_chosen_on_validation_and_adjusted_for_all_pairs() -> None:
    specs = [s for s in SVMS if s.dataset == "MNIST"][:8]

    def change(spec):
        number = specs.index(dataclasses.replace(spec, seed=0))
        noise = [0.001, -0.001, 0.0, 0.0005, -0.0005][spec.seed]
        return {"val_accuracy": 0.9 - number / 100, "test_accuracy": 0.8 + number / 100 + noise}

    chosen = selection(seeds(specs, 5), change)
    groups = groups_of(chosen)
    found = best_pairs(chosen, groups)
    assert found is not None
    assert [group[0].metrics["val_accuracy"] for group in found.groups] == pytest.approx(
        [0.9, 0.89, 0.88, 0.87, 0.86, 0.85]
    )
    assert len(found.compared) == 15
    assert found.compared[0, 5].effect == pytest.approx(-5.0)
    alone = [
        difference(chosen, found.groups[a], found.groups[b]).comparison.p_value
        for a, b in found.compared
    ]
    order = np.argsort(alone)
    holm = np.minimum(np.maximum.accumulate(np.array(alone)[order] * (15 - np.arange(15))), 1)
    adjusted = np.array([each.p_value for each in found.compared.values()])[order]
    assert adjusted == pytest.approx(holm)
    assert best_pairs(chosen, groups[:1]) is None
