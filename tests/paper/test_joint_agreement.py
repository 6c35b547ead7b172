"""Published numbers that are judged together, and the test images that fit them better."""

import dataclasses
import math

import numpy as np
import pytest
from compare_runs import evidence, expected, select, store
from scipy import stats

from mnist_ops.compare import agreement
from mnist_ops.compare.joint_agreement import joint_agreement, joint_topic, sentence, to_frame
from mnist_ops.compare.official_images import official_fits, official_sentence, official_topic
from pipelines.paper import PAPER

SPECS = [spec for spec in expected("paper") if spec.device == "cpu"]
SVMS = [spec for spec in SPECS if spec.study == "svm_grid"]


def printed(spec, table):
    fields = {"kernel": spec.kernel, "C": spec.C, "gamma": spec.gamma}
    return float(PAPER.published.value(table, "accuracy", **fields)) / 100


def runs(noise, above=0.0):
    """Return runs of the SVMs: as printed, `above` it on FashionMNIST, and noise of the seed."""

    def change(spec):
        of_mnist = spec.dataset == "MNIST"
        accuracy = printed(spec, 5 if of_mnist else 6) + (0.0 if of_mnist else above)
        return {"test_accuracy": accuracy + noise[spec.seed], "n_test": 2000}

    specs = [dataclasses.replace(s, seed=seed) for s in SVMS for seed in range(len(noise))]
    return store(specs, "paper", change)


def judged(frame):
    chosen = select(frame, lambda preset: SPECS, {}, "paper")
    known = evidence(chosen)
    compared = agreement.agreement(PAPER, known, PAPER.build_tables(chosen))
    return compared, joint_agreement(PAPER, known, compared)


def of(joint, name):
    return next(each for each in joint if each.of == name and each.metric == "accuracy")


def test_numbers_that_agree_one_by_one_can_differ_jointly() -> None:
    noise = [0.004, -0.004, 0.003, -0.003, 0.002, -0.002]
    compared, joint = judged(runs(noise, above=0.012))
    table = of(joint, "Table 6")
    assert (table.n, table.agree, table.above, table.seeds) == (12, 12, 12, 6)
    assert table.difference == pytest.approx(1.2)
    # All numbers of a seed move together: their mean varies as one of them does.
    deviation = 100 * np.std(noise, ddof=1) * math.sqrt(1 + 1 / 6)
    assert table.p_value == pytest.approx(2 * stats.t.sf(1.2 / deviation, 5))
    assert table.p_value < 0.05
    rows = compared[(compared["table"] == 6) & (compared["metric"] == "accuracy")]
    assert table.width == pytest.approx((rows["high"] - rows["low"]).median())
    assert of(joint, "Table 5").p_value == pytest.approx(1.0)
    assert of(joint, "SVM rbf on FashionMNIST (table 6)").n == 6
    told = sentence(joint)
    assert "Of 24 accuracies of single configurations 24 agree" in told
    assert "Table 6 is 1.20 points above print, 12 of 12 above" in told
    topic = joint_topic(joint)
    assert topic is not None
    assert len(topic.rows) == len(joint) == len(to_frame(joint))


def test_few_seeds_add_variances_with_their_correlation() -> None:
    noise = [0.02, -0.02]
    _, joint = judged(runs(noise, above=0.01))
    table = of(joint, "Table 6")
    assert table.seeds == 0
    # The seeds of all move together, so that the mean of twelve is no surer than one.
    one = table.interval[1] - table.difference
    deviation = 100 * np.std(noise, ddof=1)
    half = stats.t.ppf(0.975, 1) * deviation * math.sqrt(1 + 1 / 2)
    assert one == pytest.approx(half, rel=0.01)


def test_without_runs_nothing_is_tested() -> None:
    networks = [spec for spec in SPECS if spec.study == "device_compare"][:1]
    _, joint = judged(store(networks, "paper"))
    assert joint == ()
    assert sentence(joint) == ""
    assert joint_topic(joint) is None


def test_official_images_count_for_all_numbers() -> None:
    noise = [0.004, -0.004, 0.003, -0.003, 0.0]
    ours, _ = judged(runs(noise, above=0.02))
    official, _ = judged(runs(noise, above=0.005))
    both = agreement.with_official(ours, official)
    fits = official_fits(PAPER, both)
    # Accuracy and F1 of tables 5 and 6, and not the best ones, which repeat them.
    assert [(fit.table, fit.metric, fit.n) for fit in fits if fit.metric == "accuracy"] == [
        (5, "accuracy", 12),
        (6, "accuracy", 12),
    ]
    fashion = next(fit for fit in fits if (fit.table, fit.metric) == (6, "accuracy"))
    assert fashion.rms == pytest.approx(2.0)
    assert fashion.rms_official == pytest.approx(0.5)
    assert fashion.agree_official == 12
    # Table 5 and F1 are the same both ways: nothing is concluded.
    assert official_sentence(fits).endswith("and these numbers do not tell.")
    assert official_sentence([fashion]).startswith("12 numbers were measured on test images")
    topic = official_topic(fits)
    assert topic is not None
    assert len(topic.rows) == len(fits)
    assert official_sentence(()) == ""
    assert official_topic(()) is None


def test_official_images_that_fit_better_are_said_to() -> None:
    noise = [0.004, -0.004, 0.003, -0.003, 0.0]
    ours, _ = judged(runs(noise, above=0.04))
    official, _ = judged(runs(noise, above=0.005))
    fits = official_fits(PAPER, agreement.with_official(ours, official))
    better = [fit for fit in fits if (fit.table, fit.metric) == (6, "accuracy")]
    assert "it probably tested on the data sets' own" in official_sentence(better)
