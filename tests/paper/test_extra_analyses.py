"""What the study could not show: each answer against numbers that are worked out here."""

import dataclasses
import math
from statistics import stdev

import numpy as np
import pytest
from compare_runs import expected, select, store
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from mnist_ops.compare.extra_analyses import to_markdown
from mnist_ops.compare.selection import Selection
from mnist_ops.study.specs import ResNetSpec, Spec
from pipelines.paper.extra_analyses import extra_analyses
from pipelines.paper.extra_analyses.all_images import all_images_topic
from pipelines.paper.extra_analyses.budget import budget_topic
from pipelines.paper.extra_analyses.matters import matters_topics
from pipelines.paper.extra_analyses.noise import noise_numbers, noise_topic
from pipelines.paper.extra_analyses.weights import weights_topic
from pipelines.paper.figures.complexity import flops_numbers
from pipelines.paper.figures.times import frontier_numbers

PAPER = [spec for spec in expected("paper") if spec.device == "cpu"]


def chosen(specs, change=lambda spec: {}, preset="paper") -> Selection:
    return select(store(specs, preset, change), lambda preset: specs, {}, preset)


def seeds(specs: list[Spec], count: int) -> list[Spec]:
    return [dataclasses.replace(s, seed=seed) for s in specs for seed in range(count)]


def machines(preset: str = "paper") -> list[Spec]:
    return [spec for spec in expected(preset) if spec.study == "svm_grid" and spec.seed == 0]


def test_the_noise_of_one_seed_is_that_of_the_test_images() -> None:
    frame = noise_numbers(chosen(PAPER))
    pins = frame[frame["axis"] == "pin_memory, on or off"]
    assert pins["difference"].tolist() == pytest.approx([0.04, 0.49, 0.13, 0.06])
    low, high = proportion_confint(12_600, 14_000, method="wilson")
    assert pins["noise"].tolist() == pytest.approx([100 * (high - low) / 2 * math.sqrt(2)] * 4)
    assert set(pins["basis"]) == {"test images alone"}


def test_the_noise_of_several_seeds_is_theirs() -> None:
    accuracies = [0.90, 0.91, 0.93, 0.915, 0.905]
    selection = chosen(seeds(machines(), 5), lambda s: {"test_accuracy": accuracies[s.seed]})
    noise = noise_numbers(selection).set_index("axis").loc["SVM: gamma, scale or auto", "noise"]
    expected_points = stats.t.ppf(0.975, 4) * 100 * stdev(accuracies) * math.sqrt(2)
    assert noise.tolist() == pytest.approx([expected_points] * 12)


def test_the_noise_of_few_seeds_of_a_machine_is_not_that_of_another_c() -> None:
    apart = {0.1: 0.03, 1.0: 0.02, 10.0: 0.01}
    selection = chosen(
        seeds(machines(), 3), lambda s: {"test_accuracy": 0.9 + apart[s.C] * (s.seed - 1)}
    )
    noise = noise_numbers(selection).set_index("axis").loc["SVM: kernel, rbf or poly"]
    expected_points = [100 * apart[c] * stats.t.ppf(0.975, 2) * math.sqrt(2) for c in apart]
    assert sorted(set(noise["noise"].round(6)), reverse=True) == pytest.approx(expected_points)


def test_the_noise_of_few_seeds_is_that_of_seeds_of_configurations_like_it() -> None:
    accuracies = [0.90, 0.92, 0.95, 0.93, 0.91]
    like = [s for s in PAPER if s.study == "resnet_grid" and s.optimizer == "Adam"]
    selection = chosen(
        list(dict.fromkeys([*PAPER, *seeds(like, 5)])),
        lambda s: {"test_accuracy": accuracies[s.seed]},
    )
    frame = noise_numbers(selection)
    pins = frame[frame["axis"] == "pin_memory, on or off"].set_index("description")
    own = stats.t.ppf(0.975, 4) * 100 * stdev(accuracies) * math.sqrt(2)
    # Of a family whose configurations have different seeds, those after the first of each.
    of_family = stats.t.ppf(0.975, 3) * 100 * stdev(accuracies[1:]) * math.sqrt(2)
    assert sorted(pins["noise"]) == pytest.approx([own, own, of_family, of_family])
    by_optimizer = {"SGD": "seeds of configurations like it", "Adam": "its seeds"}
    for description, basis in pins["basis"].items():
        assert basis == by_optimizer["SGD" if "SGD" in description else "Adam"]
    topic = noise_topic(selection)
    assert topic is not None
    few = int((frame["basis"] == "seeds of configurations like it").sum())
    told = f"For {few} of the differences a side has fewer than five seeds"
    assert told in topic.paragraphs[0]
    assert "98.95 and not 98.89" in topic.paragraphs[1]
    assert "99.01 and not 98.52" in topic.paragraphs[1]


def test_every_neighbouring_pair_is_compared_once() -> None:
    counts = noise_numbers(chosen(PAPER)).groupby("axis").size()
    assert counts.to_dict() == {
        "pin_memory, on or off": 4,
        "Batch size, 16 or 32": 16,
        "ResNet-18 or ResNet-50": 16,
        "SGD or Adam": 16,
        "Learning rate, 0.001 or 0.0001": 16,
        "Epochs, 2 or 5": 4,
        "SVM: gamma, scale or auto": 12,
        "SVM: kernel, rbf or poly": 12,
        "SVM: C, ten times as high": 16,
    }


def test_noise_speaks_of_what_was_measured_only() -> None:
    topic = noise_topic(chosen(machines()))
    assert topic is not None
    assert [row[0].partition(":")[0] for row in topic.rows] == ["SVM"] * 3
    assert noise_topic(chosen(expected("quick"), preset="quick")) is not None
    linear = [dataclasses.replace(spec, kernel="linear") for spec in machines()]
    assert noise_topic(chosen(linear)) is None


def test_gain_from_all_images_is_paired_by_seed() -> None:
    fewer = chosen(
        seeds(machines(), 3), lambda s: {"test_accuracy": 0.90 + s.seed / 100, "n_train": 10_000}
    )
    gains = [0.03, 0.04, 0.05]
    whole = chosen(
        seeds(machines("rigorous"), 3),
        lambda s: {"test_accuracy": 0.90 + s.seed / 100 + gains[s.seed], "n_train": 49_000},
        "rigorous",
    )
    topic = all_images_topic(fewer, whole)
    assert topic is not None
    half = stats.t.ppf(0.975, 2) * stdev(gains) / math.sqrt(3) * 100
    assert topic.head[2:4] == ("10,000 images (%)", "49,000 images (%)")
    assert {row[2:] for row in topic.rows} == {
        ("91.00", "95.00", f"+4.00 ({4 - half:.2f} to {4 + half:.2f})")
    }
    assert len(topic.rows) == 24
    assert "reaches 95.00%" in topic.paragraphs[1]
    assert "in place of 91.00%" in topic.paragraphs[1]
    assert "network" not in topic.paragraphs[1]


@pytest.mark.parametrize(
    ("of_network", "told"),
    [
        (0.96, "96.00% (1 seed), is 1.00 points ahead of it, and 6.00 points ahead of the SVM"),
        (0.94, "94.00% (1 seed), is 1.00 points behind it, and 4.00 points ahead of the SVM"),
    ],
)
def test_the_lead_of_the_networks(of_network: float, told: str) -> None:
    networks = [spec for spec in PAPER if spec.study == "resnet_grid"]
    accuracies = {"resnet_grid": of_network, "svm_grid": 0.90}
    fewer = chosen(networks + machines(), lambda s: {"test_accuracy": accuracies[s.study]})
    whole = chosen(machines("rigorous"), lambda s: {"test_accuracy": 0.95}, "rigorous")
    topic = all_images_topic(fewer, whole)
    assert topic is not None
    assert told in topic.paragraphs[1]


def test_seeds_that_are_missing_are_not_counted() -> None:
    fewer = chosen(machines())
    specs = seeds(machines("rigorous"), 2)
    ran = [spec for spec in specs if spec.seed == 0]
    whole = select(store(ran, "rigorous"), lambda preset: specs, {}, "rigorous")
    topic = all_images_topic(fewer, whole)
    assert topic is not None
    assert "; 1 seed) in place of" in topic.paragraphs[1]
    assert all_images_topic(fewer, None) is None


def test_a_budget_buys_the_best_by_validation() -> None:
    def change(spec: Spec) -> dict[str, float]:
        if isinstance(spec, ResNetSpec):
            return {"train_time_s": 50.0 * spec.epochs, "val_accuracy": 0.9, "test_accuracy": 0.99}
        # Better on the test images, which do not count.
        better = 0.85 if spec.kernel == "rbf" else 0.8
        return {"train_time_s": 5.0, "val_accuracy": better, "test_accuracy": 1.7 - better}

    topic = budget_topic(chosen(PAPER, change))
    assert topic is not None
    of_mnist = [row[1:] for row in topic.rows if row[0] == "MNIST"]
    assert of_mnist == [
        ("10 seconds", "SVM, RBF, C=0.1, gamma=scale", "5.0", "85.00"),
        (
            "3 minutes",
            "ResNet-18, SGD, lr=0.001, bs=16, epochs=2, pin_memory=False",
            "100.0",
            "99.00",
        ),
    ]


def test_seeds_beyond_the_grid_are_of_the_same_configuration() -> None:
    accuracies = [0.99, 0.95, 0.94]

    def change(spec: Spec) -> dict[str, float]:
        return {"test_accuracy": accuracies[spec.seed], "val_accuracy": accuracies[spec.seed]}

    # Their runs lack params that only the cells of the grid have, such as where images are from.
    runs = store(seeds(machines(), 3), "paper", change)
    selection = select(runs, lambda preset: machines(), {}, "paper")
    assert {cell.expected for cell in selection.cells} == {True, False}
    topic = budget_topic(selection)
    assert topic is not None
    assert {row[-1] for row in topic.rows} == {"96.00"}
    for numbers in (flops_numbers(selection), frontier_numbers(selection)):
        measured = numbers[numbers["source"] == "measured"]
        assert len(measured) == 24
        assert measured["accuracy_pct"].tolist() == pytest.approx([96.0] * 24)


def test_what_matters_and_which_of_the_best_differ() -> None:
    rng = np.random.default_rng(7)
    noise = {
        (s.kernel, s.C, s.gamma, seed): rng.normal(0, 0.002)
        for s in machines()
        for seed in range(5)
    }

    def change(spec: Spec) -> dict[str, float]:
        best = 0.8 + (0.05 if spec.kernel == "rbf" else 0.0) + 0.01 * math.log10(spec.C)
        of_seed = noise[spec.kernel, spec.C, spec.gamma, spec.seed]
        return {"test_accuracy": best + of_seed, "val_accuracy": best}

    topics = matters_topics(chosen(seeds(machines(), 5), change))
    assert [topic.title for topic in topics] == [
        "What matters",
        "What each setting does",
        "The best configurations against each other",
    ]
    shares, effects, pairs = topics
    # Variances: 2.5 points squared of the kernel, two thirds of a point of C.
    told = "On MNIST the kernel explains 90% of the variance of the accuracy of support vector"
    assert told in shares.paragraphs[0]
    assert len(effects.rows) == 2 * (2 + 3 + 2)
    assert len(pairs.rows) == 2 * 15
    assert all(topic.figure is not None for topic in topics)
    assert matters_topics(chosen(machines()[:1])) == []


def test_weights_that_never_learn() -> None:
    live = {"resnet18": 4_228_554.0, "resnet50": 12_000_000.0}
    topic = weights_topic(chosen(PAPER, lambda s: {"live_parameters": live.get(s.model)}))
    assert topic is not None
    assert topic.rows == (
        ("ResNet-18", "11,175,370", "4,228,554", "62.2%"),
        ("ResNet-50", "23,522,250", "12,000,000", "49.0%"),
    )
    assert weights_topic(chosen(PAPER)) is None


def test_topics_as_markdown() -> None:
    topics = extra_analyses(chosen(PAPER), lambda preset: None)
    text = to_markdown(topics, {"differences-against-noise": "a/b.png"})
    assert "![Published differences, and what chance makes](a/b.png)" in text
    assert all(f"## {topic.title}\n" in text for topic in topics)
    assert "![Weights" not in text
