"""What a claim is tested on: the cells, matched in pairs that differ in one thing only."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import numpy as np

from mnist_ops.compare import statistics
from mnist_ops.compare.cells import IDENTITY, Cell
from mnist_ops.compare.predictions import Predictions, PredictionsOf
from mnist_ops.compare.selection import Selection
from mnist_ops.compare.statistics import Comparison
from mnist_ops.compare.tables.measure import TO_PERCENT, Group, absence, grouped
from mnist_ops.core import keys

# Params that may change nothing at all: pin_memory on a CPU, gamma on images of unit variance.
# Two cells that differ in one of them only, and agree in every score, are one training twice.
_MAY_BE_IDLE = (keys.PIN_MEMORY, keys.GAMMA)
_SCORES = (keys.TEST_ACCURACY, keys.TEST_F1, keys.VAL_ACCURACY)


@dataclass(frozen=True)
class Size:
    """What the runs of a preset are.

    Attributes:
        scope: in a few words, the preset's name and a colon before them.
        about: in a sentence.
        more: what would tell more than these runs do.
    """

    scope: str
    about: str
    more: str = "more seeds"


@dataclass(frozen=True)
class Pair:
    """Two finished cells that differ only in what is compared, and a metric of both."""

    first: Cell
    second: Cell
    metric: str

    @property
    def values(self) -> tuple[float, float]:
        """Return the metric of the first and of the second cell."""
        return self.first.metrics[self.metric], self.second.metrics[self.metric]


@dataclass(frozen=True)
class Contrast:
    """One metric of the cells with one setting against those with another.

    Attributes:
        pairs: the matched pairs, every training once.
        repeats: pairs left out because they are another pair's training again.
        lacking: what there should be a pair of, and why there is none -> how many.
        uncovered: data sets of which there should be pairs, and are none.
    """

    pairs: tuple[Pair, ...]
    repeats: int
    lacking: Mapping[str, int]
    uncovered: tuple[str, ...]

    @property
    def differences(self) -> list[float]:
        """First less second, in percentage points: for accuracies."""
        return [(first - second) * TO_PERCENT for first, second in self._values]

    @property
    def ratios(self) -> list[float]:
        """First over second: for times and losses, which are above zero."""
        return [first / second for first, second in self._values]

    @property
    def configurations(self) -> list[list[Pair]]:
        """Group the pairs by configuration: those of one differ only in the seed."""
        return list(
            grouped(
                self.pairs,
                lambda pair: (_key(pair.first, (keys.SEED,)), _key(pair.second, (keys.SEED,))),
            ).values()
        )

    @property
    def counted(self) -> str:
        """Describe how many pairs there are, how many repeat others, and how many are missing."""
        parts = [f"{len(self.pairs)} matched pairs"]
        parts += [f"{self.repeats} more repeat the same training"] if self.repeats else []
        return ", ".join(parts + [f"{n} lacking ({why})" for why, n in self.lacking.items()])

    @property
    def needed(self) -> str:
        """Describe what must be run for the missing pairs."""
        reasons = ", ".join(self.lacking) or "the grid has no such cells"
        of = f" of {', '.join(self.uncovered)}" if self.uncovered else ""
        return f"finished cells{of} on both sides of the comparison ({reasons})"

    @property
    def _values(self) -> list[tuple[float, float]]:
        return [pair.values for pair in self.pairs]


@dataclass(frozen=True)
class Evidence:
    """The selected cells, and a way to their predictions.

    Attributes:
        selection: the cells.
        predictions: run id -> predictions; asked only for the runs that a claim needs.
        sizes: what runs of a preset are, by its name.
    """

    selection: Selection
    predictions: PredictionsOf
    sizes: Mapping[str, Size] = field(default_factory=dict)

    @property
    def scope(self) -> str:
        """Describe the runs that a verdict speaks of: preset, and seeds a configuration."""
        preset = self.selection.preset
        counts = Counter(
            (cell.study, *(cell.params.get(name) for name in IDENTITY if name != keys.SEED))
            for cell in self.selection.cells
            if cell.finished
        ).values()
        least, most = min(counts, default=0), max(counts, default=0)
        seeds = f"{most} seed{'' if most == 1 else 's'}"
        scope = self.sizes[preset].scope if preset in self.sizes else preset
        return f"{scope}, {seeds if least == most else f'{least} to {seeds}'}"

    @property
    def more(self) -> str:
        """Describe which further runs would be informative."""
        size = self.sizes.get(self.selection.preset)
        return size.more if size else "more seeds"

    def cells(self, *studies: str, **params: Any) -> list[Cell]:
        """Return the cells of the studies that have these params, finished or not."""
        return [
            cell
            for study in studies
            for cell in self.selection.of(study)
            if all(cell.params.get(name) == value for name, value in params.items())
        ]

    def predicted(self, cell: Cell) -> Predictions | None:
        """Return the cell's predictions, if it has any."""
        return None if cell.run_id is None else self.predictions(cell.run_id)

    def compare(self, first: Group, second: Group, margin: float = 0.0) -> Comparison | None:
        """Test accuracy of two configurations, in percentage points, seed by seed.

        Over several common seeds the paired t test; for one, McNemar's test where both were
        tested on the same images (or one on a part of the other's), else that of two independent
        proportions. None where they have no seed in common, or nothing to test on.

        With a `margin` the test is whether the difference, whichever way, is other than that.
        """
        seconds = {cell.params.get(keys.SEED): cell for cell in second if cell.finished}
        pairs = [
            (cell, seconds[cell.params.get(keys.SEED)])
            for cell in first
            if cell.finished and cell.params.get(keys.SEED) in seconds
        ]
        if not pairs:
            return None
        differences = [
            (a.metrics[keys.TEST_ACCURACY] - b.metrics[keys.TEST_ACCURACY]) * TO_PERCENT
            for a, b in pairs
        ]
        against = math.copysign(margin, fmean(differences))
        if len(pairs) > 1:
            return statistics.paired(differences, against)
        return _in_points(self._compare_runs(*pairs[0], against / TO_PERCENT))

    def _compare_runs(self, first: Cell, second: Cell, against: float) -> Comparison | None:
        ours, theirs = self.predicted(first), self.predicted(second)
        if ours is not None and theirs is not None:
            right = _right_on_common(ours, theirs)
            if right is not None:
                return statistics.mcnemar(*right, against)
        accuracies = [cell.metrics[keys.TEST_ACCURACY] for cell in (first, second)]
        sizes = [int(cell.params.get(keys.N_TEST, 0)) for cell in (first, second)]
        if not all(sizes):
            return None
        return statistics.independent(accuracies[0], sizes[0], accuracies[1], sizes[1], against)


def contrast(
    cells: Iterable[Cell],
    first: Mapping[str, Any],
    second: Mapping[str, Any],
    metric: str = keys.TEST_ACCURACY,
) -> Contrast:
    """Match the cells that have the params `first` with those that have `second`.

    Two cells match that agree in all of `IDENTITY` except in these params. Both must be finished
    and have the metric, above zero unless it is a score (a time or loss of zero was not
    measured).
    """
    # Momentum is SGD's own: it cannot tell two optimizers' cells apart.
    apart = {*first, *([keys.MOMENTUM] if keys.OPTIMIZER in first else [])}
    cells = list(cells)
    sides = [
        grouped(
            [c for c in cells if all(c.params.get(k) == v for k, v in wanted.items())],
            lambda cell: (cell.study, *_key(cell, apart)),
        )
        for wanted in (first, second)
    ]
    return _matched(sides[0], sides[1], metric, (first, second))


def merged(contrasts: Sequence[Contrast]) -> Contrast:
    """Several contrasts as one."""
    lacking: dict[str, int] = {}
    for each in contrasts:
        for why, count in each.lacking.items():
            lacking[why] = lacking.get(why, 0) + count
    return Contrast(
        tuple(pair for each in contrasts for pair in each.pairs),
        sum(each.repeats for each in contrasts),
        lacking,
        tuple(dict.fromkeys(name for each in contrasts for name in each.uncovered)),
    )


def configurations(cells: Iterable[Cell]) -> list[list[Cell]]:
    """Group the cells by configuration: those of one differ only in the seed."""
    return list(grouped(cells, lambda cell: _key(cell, (keys.SEED,))).values())


def _matched(
    firsts: Mapping[tuple[Any, ...], list[Cell]],
    seconds: Mapping[tuple[Any, ...], list[Cell]],
    metric: str,
    settings: tuple[Mapping[str, Any], Mapping[str, Any]],
) -> Contrast:
    pairs: dict[tuple[Any, ...], Pair] = {}
    lacking: dict[str, int] = {}
    datasets: dict[str, bool] = {}
    found = 0
    for key in dict.fromkeys([*firsts, *seconds]):
        both = [firsts.get(key, []), seconds.get(key, [])]
        dataset = str((both[0] or both[1])[0].params.get(keys.DATASET))
        usable = [[cell for cell in side if _has(cell, metric)] for side in both]
        datasets[dataset] = datasets.get(dataset, False) or all(usable)
        if not all(usable):
            side = 0 if not usable[0] else 1
            why = f"{_setting(settings[side])}: " + (
                f"no {metric}" if any(c.finished for c in both[side]) else absence(both[side])
            )
            lacking[why] = lacking.get(why, 0) + 1
            continue
        found += 1
        pair = Pair(usable[0][0], usable[1][0], metric)
        pairs.setdefault(_training(pair, settings[0]), pair)
    return Contrast(
        tuple(pairs.values()),
        found - len(pairs),
        lacking,
        tuple(name for name, covered in datasets.items() if not covered),
    )


def _setting(params: Mapping[str, Any]) -> str:
    if params.get(keys.DEVICE) == "cuda":
        return "on a GPU"
    return ", ".join(f"{name}={value}" for name, value in params.items())


def _has(cell: Cell, metric: str) -> bool:
    value = cell.metrics.get(metric)
    return value is not None and (metric in _SCORES or value > 0)


def _training(pair: Pair, about: Iterable[str]) -> tuple[Any, ...]:
    """Equal for two pairs that are the same two trainings again."""
    idle = {name for name in _MAY_BE_IDLE if name not in about}
    scores = tuple(
        cell.metrics.get(name)
        for cell in (pair.first, pair.second)
        for name in (pair.metric, *_SCORES)
    )
    return (pair.first.study, *_key(pair.first, idle), *_key(pair.second, idle), *scores)


def _key(cell: Cell, without: Iterable[str]) -> tuple[Any, ...]:
    without = set(without)
    return cell.key(*(name for name in IDENTITY if name not in without))


def _in_points(comparison: Comparison | None) -> Comparison | None:
    if comparison is None:
        return None
    interval = comparison.interval and (
        comparison.interval[0] * TO_PERCENT,
        comparison.interval[1] * TO_PERCENT,
    )
    return Comparison(
        comparison.effect * TO_PERCENT,
        interval,
        comparison.p_value,
        comparison.n,
        comparison.method,
    )


def _right_on_common(ours: Predictions, theirs: Predictions) -> tuple[Any, Any] | None:
    """Return which common test images each got right; None unless they are all that one has."""
    common, of_ours, of_theirs = np.intersect1d(ours.index, theirs.index, return_indices=True)
    labels = ours.label[of_ours], theirs.label[of_theirs]
    whole = min(len(ours.index), len(theirs.index))
    if not len(common) or len(common) < whole or not np.array_equal(*labels):
        return None
    return (
        ours.predicted[of_ours] == labels[0],
        theirs.predicted[of_theirs] == labels[1],
    )
