"""What matters in a factorial grid: the share of each axis, of interactions and of seeds.

The variance is that of the score of one run of a random configuration with a random seed. It is
divided by an analysis of variance of type II (`statsmodels.stats.anova.anova_lm`) on the means of
the configurations, each with equal weight, so that configurations with more seeds do not count
more. What seeds add to a sum of squares is subtracted: shares are omega squared, and those of axes
without effect are about zero. The seeds' own variance is that between the seeds of a configuration,
pooled; where no configuration has two seeds, the interactions of more than two axes stand for it.

Seeds divide the same images anew: the variance of a mean is 1/n + n_test/n_train of that between
seeds (Nadeau and Bengio 2003). Shorter trainings are the beginning of longer ones: for axes other
than the number of epochs, the trainings of one trajectory count once.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from scipy import stats

from mnist_ops.compare import statistics
from mnist_ops.compare.statistics import Interval
from mnist_ops.core import keys

SCORE, SEED = "score", "seed"

# More axes than these make more interactions than a grid has configurations for.
_MOST_AXES = 8
# With more degrees of freedom the interactions of two axes are not told from those of more.
_MOST_TERMS = 400
# From so many degrees of freedom on one run rarely has more than half of the seeds' sum of squares.
_ENOUGH_REPEATS = 10


@dataclass(frozen=True)
class Term:
    """One source of variance.

    Attributes:
        axes: one axis, two of an interaction; empty for what is left over.
        share: of the variance, 0 to 1.
        p_value: of "it has no effect", by an F test against seed noise; None without one.
    """

    axes: tuple[str, ...]
    share: float
    p_value: float | None


@dataclass(frozen=True)
class Level:
    """One value of an axis.

    Attributes:
        axis: its name.
        value: of the axis.
        mean: over the configurations with it, each with equal weight.
        n: how many these are.
        interval: 95%, of that mean, for the seeds; None where their noise is not known.
    """

    axis: str
    value: Any
    mean: float
    n: int
    interval: Interval | None


@dataclass(frozen=True)
class Outlier:
    """The one run that more than half of the seeds' sum of squares is from.

    Attributes:
        settings: of its configuration, by axis.
        seed: of the run.
        score: of the run.
        others: mean score of the configuration's other runs.
        seeds_without: the share of the seed in the grid without the run; None where this cannot
            be told.
    """

    settings: Mapping[str, Any]
    seed: Any
    score: float
    others: float
    seeds_without: float | None


@dataclass(frozen=True)
class Factorial:
    """A grid, taken apart.

    Attributes:
        axes: that make a difference -> their values.
        idle: axes whose values give the same scores to the last digit.
        main: one term an axis, the largest share first.
        pairs: one term an interaction of two axes, the largest share first; none where these
            cannot be told from the other interactions.
        higher: the share of the other interactions; None where they stand for seeds.
        seeds: the share of the seed.
        levels: the mean at each value of each axis.
        deviation: of the score of one run over seeds.
        configurations: how many there are.
        repeats: degrees of freedom of `deviation`; 0 where no configuration has two seeds.
        outlier: the run that most of `seeds` is from; None where there is no such run.
    """

    axes: Mapping[str, tuple[Any, ...]]
    idle: tuple[str, ...]
    main: tuple[Term, ...]
    pairs: tuple[Term, ...]
    higher: float | None
    seeds: float
    levels: tuple[Level, ...]
    deviation: float
    configurations: int
    repeats: int
    outlier: Outlier | None = None

    @property
    def of_pairs(self) -> float:
        """Return the share of all interactions of two axes."""
        return sum(term.share for term in self.pairs)

    @property
    def together(self) -> float:
        """Return the share of all interactions that are told from seeds."""
        return self.of_pairs + (self.higher or 0.0)


def factorial(frame: pd.DataFrame, axes: Sequence[str], overlap: float = 0.0) -> Factorial | None:
    """Take the variance of scores apart; None for a grid that is not whole, or too small.

    Args:
        frame: a row a run; columns `SCORE`, `SEED` and one an axis.
        axes: columns that a configuration consists of.
        overlap: test images over training images, where seeds divide the same images.
    """
    idle = [axis for axis in axes if _is_idle(frame, axis, axes)]
    for axis in idle:
        frame = frame[frame[axis] == frame[axis].iloc[0]]
    varied = [axis for axis in axes if axis not in idle and frame[axis].nunique() > 1]
    if not varied or len(varied) > _MOST_AXES:
        return None
    groups = frame.groupby(varied, sort=False)[SCORE]
    means = groups.agg(["mean", "size"]).reset_index()
    values = {axis: tuple(dict.fromkeys(frame[axis])) for axis in varied}
    if len(means) != math.prod(map(len, values.values())) or means["mean"].nunique() < 2:
        return None
    several = [scores.tolist() for _, scores in groups if len(scores) > 1]
    table, left, free = _anova(means, varied)
    if several:
        deviation, repeats = statistics.pooled_deviation(several)
        noise = deviation**2 * (1 / means["size"] + overlap).mean()
        degrees = repeats / _lengths(values)
    elif free:
        deviation, repeats = math.sqrt(left / free), 0
        noise, degrees = left / free, float(free)
    else:
        return None
    terms = [_term(axes_of, sum_sq, df, noise, degrees, values) for axes_of, sum_sq, df in table]
    higher = max(0.0, left - free * noise) / len(means) if several else None
    of_seeds = deviation**2 * ((1 + overlap) if several else 1)
    found = [(axes_of, max(0.0, part) / len(means), p) for axes_of, part, p in terms]
    total = sum(part for _, part, _ in found) + (higher or 0.0) + of_seeds
    if not total:
        return None
    shares = [Term(axes_of, part / total, p) for axes_of, part, p in found]
    shares.sort(key=lambda term: -term.share)
    return Factorial(
        axes=values,
        idle=tuple(idle),
        main=tuple(term for term in shares if len(term.axes) == 1),
        pairs=tuple(term for term in shares if len(term.axes) == 2),
        higher=None if higher is None else higher / total,
        seeds=of_seeds / total,
        levels=tuple(_levels(means, values, noise, degrees)),
        deviation=deviation,
        configurations=len(means),
        repeats=repeats,
        outlier=_outlier(frame, varied, overlap) if repeats >= _ENOUGH_REPEATS else None,
    )


def _outlier(frame: pd.DataFrame, axes: Sequence[str], overlap: float) -> Outlier | None:
    groups = frame.groupby(list(axes))[SCORE]
    squares = (frame[SCORE] - groups.transform("mean")) ** 2
    if squares.max() <= squares.sum() / 2:
        return None
    at = frame.index[int(squares.argmax())]
    run, rest = frame.loc[at], frame.drop(index=at)
    same = (rest[list(axes)] == run[list(axes)]).all(axis="columns")
    without = factorial(rest, axes, overlap)
    return Outlier(
        settings={axis: run[axis] for axis in axes},
        seed=run[SEED],
        score=float(run[SCORE]),
        others=float(rest.loc[same, SCORE].mean()),
        seeds_without=without.seeds if without else None,
    )


def _is_idle(frame: pd.DataFrame, axis: str, axes: Sequence[str]) -> bool:
    """Return whether the values of an axis give the same scores wherever all else is the same."""
    if frame[axis].nunique() < 2:
        return False
    others = [*(name for name in axes if name != axis), SEED]
    by_rest = frame.groupby(others, dropna=False)
    compared = by_rest[axis].nunique() > 1
    return bool(compared.any()) and bool((by_rest[SCORE].nunique()[compared] == 1).all())


def _anova(
    means: pd.DataFrame, axes: Sequence[str]
) -> tuple[list[tuple[tuple[str, ...], float, int]], float, int]:
    """Return sum of squares and degrees of each term, and both of what is left over."""
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    # Names and values of a user's study can be anything.
    columns = {axis: f"axis{number}" for number, axis in enumerate(axes)}
    frame = pd.DataFrame({columns[axis]: means[axis].map(repr) for axis in axes})
    frame["mean"] = means["mean"]
    sizes = {axis: means[axis].nunique() for axis in axes}
    terms: list[tuple[str, ...]] = [(axis,) for axis in axes]
    pairs = list(itertools.combinations(axes, 2))
    needed = sum(math.prod(sizes[axis] - 1 for axis in each) for each in [*terms, *pairs])
    if needed < min(len(means) - 1, _MOST_TERMS):
        terms += pairs
    if len(axes) == 1:
        total = float(((means["mean"] - means["mean"].mean()) ** 2).sum())
        return [((axes[0],), total, len(means) - 1)], 0.0, 0
    formula = " + ".join(":".join(columns[axis] for axis in each) for each in terms)
    table = anova_lm(ols(f"mean ~ {formula}", frame).fit(), typ=2)
    found = [
        (each, float(sum_sq), round(df))
        for each, sum_sq, df in zip(terms, table["sum_sq"], table["df"], strict=False)
    ]
    return found, float(table["sum_sq"].iloc[-1]), round(table["df"].iloc[-1])


def _lengths(values: Mapping[str, Sequence[Any]]) -> int:
    """Return how many cells of the grid are one training, of different length."""
    return len(values.get(keys.EPOCHS, (1,)))


def _term(
    axes: tuple[str, ...],
    sum_sq: float,
    df: int,
    noise: float,
    degrees: float,
    values: Mapping[str, Sequence[Any]],
) -> tuple[tuple[str, ...], float, float | None]:
    """Return what a term has beyond noise, and the p-value of its F test."""
    if keys.EPOCHS not in axes:
        noise *= _lengths(values)
    p_value = float(stats.f.sf(sum_sq / df / noise, df, degrees)) if noise else None
    return axes, sum_sq - df * noise, p_value


def _levels(
    means: pd.DataFrame, values: Mapping[str, Sequence[Any]], noise: float, degrees: float
) -> list[Level]:
    quantile = float(stats.t.ppf((1 + statistics.CONFIDENCE) / 2, degrees))
    found = []
    for axis, of_axis in values.items():
        lengths = 1 if axis == keys.EPOCHS else _lengths(values)
        for value in of_axis:
            those = means.loc[means[axis] == value, "mean"]
            mean = float(those.mean())
            reach = quantile * math.sqrt(noise * lengths / len(those))
            found.append(Level(axis, value, mean, len(those), (mean - reach, mean + reach)))
    return found
