"""Shares of the variance of a factorial grid, against numbers that are worked out here."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mnist_ops.compare.generic.matters import sentence
from mnist_ops.compare.what_matters import SCORE, SEED, factorial


def grid(score, levels, seeds=3):
    """Return a row a run; `score` gets the values of the axes and the seed."""
    rows = []
    for values in itertools.product(*levels.values()):
        cell = dict(zip(levels, values, strict=True))
        rows += [cell | {SEED: seed, SCORE: score(cell, seed)} for seed in range(seeds)]
    return pd.DataFrame(rows)


LEVELS = {"a": (0, 1), "b": ("x", "y", "z"), "c": (0.1, 0.2)}


def test_shares_are_those_of_known_effects() -> None:
    rng = np.random.default_rng(0)
    of_b = {"x": -2.0, "y": 0.0, "z": 2.0}

    def score(cell, seed):
        together = 1.0 if (cell["a"] == 1) == (cell["c"] == 0.2) else -1.0
        return 90 + 3.0 * cell["a"] + of_b[cell["b"]] + together + rng.normal(0, 1)

    found = factorial(grid(score, LEVELS, seeds=200), list(LEVELS))
    assert found is not None
    # Variances: a 1.5^2, b 8/3, a with c 1, the seed 1.
    total = 2.25 + 8 / 3 + 1 + 1
    shares = {term.axes: term.share for term in (*found.main, *found.pairs)}
    assert shares["a",] == pytest.approx(2.25 / total, abs=0.02)
    assert shares["b",] == pytest.approx(8 / 3 / total, abs=0.02)
    assert shares["a", "c"] == pytest.approx(1 / total, abs=0.02)
    assert found.seeds == pytest.approx(1 / total, abs=0.02)
    assert shares["c",] == pytest.approx(0, abs=0.01)
    assert found.main[0].axes == ("b",)
    assert sum(shares.values()) + found.seeds + found.higher == pytest.approx(1)


def test_the_run_that_most_of_the_seeds_share_is_from_is_named() -> None:
    rng = np.random.default_rng(1)
    usual = grid(lambda cell, seed: 90 + cell["a"] + rng.normal(0, 0.1), LEVELS)
    odd = usual.copy()
    odd.loc[7, SCORE] -= 5.0
    found, plain = (factorial(frame, list(LEVELS)) for frame in (odd, usual))
    assert found is not None
    assert plain is not None
    assert plain.outlier is None
    run = found.outlier
    assert run is not None
    where = odd.loc[7]
    assert (run.settings, run.seed) == ({axis: where[axis] for axis in LEVELS}, where[SEED])
    assert run.score == where[SCORE]
    same = (usual[list(LEVELS)] == where[list(LEVELS)]).all(axis=1)
    assert run.others == pytest.approx(usual[same].drop(index=7)[SCORE].mean())
    without = factorial(odd.drop(index=7), list(LEVELS))
    assert without is not None
    assert run.seeds_without == without.seeds
    assert run.seeds_without < 0.2 < found.seeds
    named = f"({run.seeds_without:.0%} without the run a={where['a']}, b={where['b']}"
    assert named in sentence(found)
    assert "without" not in sentence(plain)


def test_a_configuration_with_more_seeds_does_not_count_more() -> None:
    def score(cell, seed):
        return 10.0 * cell["a"] + 1.0 * cell["c"] + 0.01 * (seed % 2)

    frame = grid(score, {"a": (0, 1), "c": (0, 1)}, seeds=4)
    fewer = frame[(frame["a"] == 1) | (frame[SEED] < 2)]
    ours, theirs = (factorial(each, ["a", "c"]) for each in (frame, fewer))
    assert ours is not None
    assert theirs is not None
    for one, other in zip(ours.main, theirs.main, strict=True):
        assert one.share == pytest.approx(other.share, abs=1e-4)


def test_the_f_test_is_that_of_seed_noise() -> None:
    rng = np.random.default_rng(1)
    frame = grid(lambda cell, seed: cell["a"] + rng.normal(0, 1), LEVELS)
    found = factorial(frame, list(LEVELS))
    assert found is not None
    groups = [scores for _, scores in frame.groupby(list(LEVELS))[SCORE]]
    within = np.mean([np.var(scores, ddof=1) for scores in groups])
    means = frame.groupby(list(LEVELS))[SCORE].mean()
    by_a = means.groupby("a").mean()
    sum_sq = 6 * ((by_a - by_a.mean()) ** 2).sum()
    of_a = next(term for term in found.main if term.axes == ("a",))
    assert of_a.p_value == pytest.approx(stats.f.sf(sum_sq / (within / 3), 1, 24))
    assert found.repeats == 24


def test_without_an_effect_few_tests_find_one() -> None:
    rng = np.random.default_rng(2)
    p_values = []
    for _ in range(60):
        found = factorial(grid(lambda cell, seed: rng.normal(90, 1), LEVELS), list(LEVELS))
        assert found is not None
        p_values += [term.p_value for term in found.main]
    rejected = sum(p < 0.05 for p in p_values)
    # Of 180 at 5%: more than this in fewer than one of 10,000 tries.
    assert rejected <= stats.binom.ppf(0.9999, len(p_values), 0.05)


def test_overlapping_splits_widen_intervals_and_raise_p_values() -> None:
    rng = np.random.default_rng(3)
    frame = grid(lambda cell, seed: cell["a"] + rng.normal(0, 1), LEVELS)
    apart, overlapping = (factorial(frame, list(LEVELS), overlap) for overlap in (0.0, 0.25))
    assert apart is not None
    assert overlapping is not None
    for one, other in zip(apart.levels, overlapping.levels, strict=True):
        ratio = (other.interval[1] - other.interval[0]) / (one.interval[1] - one.interval[0])
        assert ratio == pytest.approx(((1 / 3 + 0.25) / (1 / 3)) ** 0.5)
    of_a = [next(t for t in each.main if t.axes == ("a",)) for each in (apart, overlapping)]
    assert of_a[1].p_value > of_a[0].p_value


def test_trainings_of_one_trajectory_count_once() -> None:
    rng = np.random.default_rng(4)
    levels = {"a": (0, 1), "epochs": (2, 5), "c": (0, 1)}
    noise: dict[tuple[object, ...], float] = {}

    def score(cell, seed):
        key = (cell["a"], cell["c"], seed)
        noise.setdefault(key, rng.normal(0, 1))
        return 90 + cell["epochs"] + noise[key]

    rejected = 0
    for _ in range(100):
        noise.clear()
        found = factorial(grid(score, levels), list(levels))
        assert found is not None
        rejected += next(t for t in found.main if t.axes == ("a",)).p_value < 0.05
    assert rejected <= stats.binom.ppf(0.9999, 100, 0.05)


def test_an_axis_that_changes_nothing_is_left_out() -> None:
    rng = np.random.default_rng(5)
    noise = {(a, seed): rng.normal() for a in (0, 1) for seed in range(3)}
    levels = {"a": (0, 1), "pin_memory": (False, True)}
    frame = grid(lambda cell, seed: 90 + 5 * cell["a"] + noise[cell["a"], seed], levels)
    found = factorial(frame, list(levels))
    assert found is not None
    assert found.idle == ("pin_memory",)
    assert found.configurations == 2
    assert found.repeats == 4
    assert [term.axes for term in found.main] == [("a",)]


def test_without_repeats_interactions_of_many_axes_stand_for_seeds() -> None:
    rng = np.random.default_rng(6)
    frame = grid(lambda cell, seed: 5.0 * cell["a"] + rng.normal(0, 1), LEVELS, seeds=1)
    found = factorial(frame, list(LEVELS))
    assert found is not None
    assert (found.higher, found.repeats) == (None, 0)
    assert found.main[0].axes == ("a",)
    assert found.main[0].p_value < 0.05


@pytest.mark.parametrize("seeds", [1, 3])
def test_what_cannot_be_taken_apart(seeds: int) -> None:
    of_b = {"x": 1.0, "y": 2.0, "z": 4.0}
    frame = grid(lambda cell, seed: 90 + cell["a"] + of_b[cell["b"]] + cell["c"], LEVELS, seeds)
    holes = frame[~((frame["a"] == 0) & (frame["b"] == "x") & (frame["c"] == 0.1))]
    assert factorial(holes, list(LEVELS)) is None
    assert factorial(frame.assign(score=1.0), list(LEVELS)) is None
    assert factorial(frame[frame["a"] == 0], []) is None
