"""The seed noise of scores: by how much they differ from run to run, and how that is known.

A configuration's own seeds tell, where they are enough; else those of its family do, pooled. But a
few seeds can lie closer together than the chance in their test images makes likely (and SVMs
of one seed share these images, so that all of them do at once): it is never taken for less than
that. Where nothing has a second seed, that is all that is known.

Configurations that got more seeds because of what their first seed showed are no fair sample: the
seed that was looked at is an extreme one. So the pooled deviation is that of

1. the seeds that every configuration of the family has, where these are two or more;
2. else the seeds after each configuration's first, which no choice can have been made by;
3. else, where these leave too few degrees of freedom, all seeds, whose deviation is too large
   rather than too small.

A weighted F1 is taken for a share of the images, as an accuracy is: bootstrapped over the test
images of recorded runs, its deviation was within a tenth of that share's.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from scipy import stats

from mnist_ops.compare import statistics
from mnist_ops.compare.cells import Cell, trainings
from mnist_ops.compare.selection import Selection
from mnist_ops.compare.statistics import ENOUGH_SEEDS, Interval, Mean, Side
from mnist_ops.compare.tables.measure import TO_PERCENT, Group, grouped
from mnist_ops.core import keys

# What chance is known from, the best first.
OWN_SEEDS, LIKE_IT, IMAGES = "its seeds", "seeds of configurations like it", "test images alone"
BASES = (OWN_SEEDS, LIKE_IT, IMAGES)

# What makes configurations alike enough to have one deviation. A support vector machine's goes
# with its accuracy, which its kernel and C decide.
FAMILY = (keys.MODEL, keys.DATASET, keys.EPOCHS, keys.KERNEL, keys.C)
# Fewest degrees of freedom of the second way to pool.
_ENOUGH_DEGREES = 3


@dataclass(frozen=True)
class Score:
    """A metric of the runs and its scale.

    Attributes:
        metric: its name.
        scale: what it is multiplied by: 100 for percent.
        is_ratio: whether two values are compared by their ratio, so that logarithms are taken.
        of_images: whether it is a share of the test images.
        of_splits: whether it depends on the images that the seed draws.
    """

    metric: str
    scale: float = 1.0
    is_ratio: bool = False
    of_images: bool = False
    of_splits: bool = True

    def of(self, cell: Cell) -> float | None:
        """Return the cell's value; None without one, or without a logarithm."""
        value = cell.metrics.get(self.metric)
        if value is None or not self.is_ratio:
            return None if value is None else value * self.scale
        return math.log(value) if value > 0 else None

    def by_seed(self, cells: Iterable[Cell]) -> dict[Any, float]:
        """Return the value of each seed of a configuration."""
        found = {cell.params.get(keys.SEED): self.of(cell) for cell in cells}
        return {seed: value for seed, value in found.items() if value is not None}


ACCURACY = Score(keys.TEST_ACCURACY, TO_PERCENT, of_images=True)
F1 = Score(keys.TEST_F1, 1, of_images=True)
TRAIN_TIME = Score(keys.TRAIN_TIME_S, is_ratio=True, of_splits=False)
TRAIN_LOSS = Score(keys.TRAIN_LOSS, is_ratio=True)


@dataclass(frozen=True)
class Pooled:
    """The deviation of a family.

    Attributes:
        deviation: between seeds.
        degrees: of freedom.
        seeds: how many it is from.
        configurations: of how many these are.
        rule: which seeds these are, in words; empty where all have the same.
    """

    deviation: float
    degrees: int
    seeds: int
    configurations: int
    rule: str = ""


class SeedNoise:
    """The seed noise of a selection's configurations; pools each family once."""

    _latest: "ClassVar[SeedNoise | None]" = None

    def __init__(self, selection: Selection):
        """`selection` is where the families' runs are."""
        # A study that is about time trains configurations of others again.
        timed = {study.name for study in selection.studies if study.is_about_time}
        self.selection = selection
        self._families = grouped(
            [cell for cell in selection.cells if not cell.variant],
            lambda cell: _family(cell.params, cell.study in timed),
        )
        self._timed = timed
        self._pooled: dict[tuple[Any, ...], Pooled | None] = {}
        self._largest: dict[Any, int] = {}
        for cell in selection.cells:
            dataset = cell.params.get(keys.DATASET)
            self._largest[dataset] = max(self._largest.get(dataset, 0), _images(cell))

    @classmethod
    def of(cls, selection: Selection) -> "SeedNoise":
        """Return the seed noise of `selection`, pooled once for calls in a row."""
        if cls._latest is None or cls._latest.selection is not selection:
            cls._latest = cls(selection)
        return cls._latest

    def side(self, cells: Group, score: Score) -> Side | None:
        """Return the seeds of a configuration and their deviation; None without values."""
        values = score.by_seed(cells)
        if not values:
            return None
        deviation, degrees = None, 0.0
        if len(values) >= ENOUGH_SEEDS:
            deviation = statistics.mean_interval(list(values.values())).deviation
            degrees = len(values) - 1
        elif known := self.pooled(cells[0].params, score, self._is_timed(cells[0], score)):
            deviation, degrees = known.deviation, known.degrees
        if deviation is None:
            return Side(values, None, 0)
        images = fewest_images(cells)
        if score.of_images and images:
            share = min(1.0, max(0.0, sum(values.values()) / len(values) / score.scale))
            deviation = max(deviation, score.scale * math.sqrt(share * (1 - share) / images))
        overlap = self.overlap(cells[0]) if score.of_splits else 0.0
        return Side(values, deviation, degrees, overlap)

    def pooled(
        self, params: Mapping[str, Any], score: Score, about_time: bool = False
    ) -> Pooled | None:
        """Return the deviation of the family of `params`; None where nothing has a second seed."""
        family = _family(params, about_time)
        key = (*family, score)
        if key not in self._pooled:
            cells = self._families.get(family, [])
            self._pooled[key] = pool([score.by_seed(group) for group in trainings(cells)])
        return self._pooled[key]

    def _is_timed(self, cell: Cell, score: Score) -> bool:
        return cell.study in self._timed and not score.of_splits

    def overlap(self, cell: Cell) -> float:
        """Return Nadeau and Bengio's ratio of test to training images of the cell's splits.

        Splits that take a part of the data set overlap by that much less. The largest split of
        these runs is taken for the whole, which it is at most.
        """
        train, test = (int(cell.params.get(name, 0)) for name in (keys.N_TRAIN, keys.N_TEST))
        whole = self._largest.get(cell.params.get(keys.DATASET), 0)
        return test / train * _images(cell) / whole if train and whole else 0.0


@dataclass(frozen=True)
class Chance:
    """Where one run's score falls 95% of the time, about a mean of several.

    Attributes:
        mean: of the runs.
        n: how many there were.
        of_one: where one of them falls.
        basis: one of `BASES`.
        text: the basis in words.
        degrees: of freedom of Student's t behind `of_one`; infinite for test images alone.
    """

    mean: float
    n: int
    of_one: Interval
    basis: str
    text: str
    degrees: float = math.inf

    @property
    def deviation(self) -> float:
        """Return the standard deviation of one run behind `of_one`."""
        low, high = self.of_one
        return (high - low) / 2 / float(stats.t.ppf((1 + statistics.CONFIDENCE) / 2, self.degrees))

    @property
    def of_another(self) -> Interval:
        """Return the prediction interval of one more run's score, given the mean of n."""
        return statistics.repeated(self.mean, self.of_one, self.n)

    @property
    def apart(self) -> float:
        """By how much two runs differ at most, 95% of the time."""
        low, high = statistics.repeated(self.mean, self.of_one)
        return (high - low) / 2


def chance(
    selection: Selection,
    params: Mapping[str, Any],
    score: Score,
    own: Mean,
    images: int,
) -> Chance | None:
    """Estimate the seed noise of one configuration's scores; None without data.

    Args:
        selection: where its family's runs are.
        params: of the configuration; they name the family.
        score: what was measured.
        own: the score over the configuration's seeds.
        images: how many test images each seed was measured on; 0 if that is not known.
    """
    seeds = "one seed" if own.n == 1 else f"{own.n} seeds"
    found = []

    def add(of_one: Interval, basis: str, text: str, degrees: float = math.inf) -> None:
        text = f"{seeds}: the range has {text}"
        found.append(Chance(own.mean, own.n, of_one, basis, text, degrees))

    if own.deviation is not None and own.n >= ENOUGH_SEEDS:
        of_one = statistics.student_interval(own.mean, own.deviation, own.n - 1)
        add(of_one, OWN_SEEDS, "their spread", own.n - 1)
    elif known := SeedNoise.of(selection).pooled(params, score):
        of_one = statistics.student_interval(own.mean, known.deviation, known.degrees)
        of = (
            "one configuration"
            if known.configurations == 1
            else f"{known.configurations} configurations"
        )
        text = f"the spread of {known.seeds} seeds of {of} of this model and data set{known.rule}"
        add(of_one, LIKE_IT, text, known.degrees)
    if images:
        low, high = statistics.wilson(own.mean / score.scale, images)
        of_one = (low * score.scale, high * score.scale)
        add(of_one, IMAGES, "the chance in the test images alone")
    return max(found, key=lambda each: each.apart, default=None)


def fewest_images(cells: Iterable[Cell]) -> int:
    """On how many test images the finished cells were measured, at the least; 0 if none tells."""
    sizes = [int(c.params[keys.N_TEST]) for c in cells if c.finished and keys.N_TEST in c.params]
    return min(sizes, default=0)


def _family(params: Mapping[str, Any], about_time: bool) -> tuple[Any, ...]:
    device = params.get(keys.DEVICE) if about_time else None
    return (about_time, device, *(params.get(name) for name in FAMILY))


def pool(seeds: Sequence[Mapping[Any, float]]) -> Pooled | None:
    """Pool the deviations of configurations; None where none has two seeds.

    Args:
        seeds: seed -> value, of each configuration.
    """
    several = [values for values in seeds if len(values) > 1]
    if not several:
        return None
    common = set[Any].intersection(*(set(values) for values in seeds if values))
    later = [[v for _, v in sorted(values.items())][1:] for values in several]
    later = [values for values in later if len(values) > 1]
    if len(common) > 1:
        chosen = [[values[seed] for seed in common] for values in seeds if values]
        rule = ""
    elif sum(len(values) - 1 for values in later) >= _ENOUGH_DEGREES:
        chosen, rule = later, ", without each one's first"
    else:
        chosen, rule = [list(values.values()) for values in several], ""
    # Those with the same values cannot be told from one training, and count once.
    chosen = [list(values) for values in sorted({tuple(values) for values in chosen})]
    deviation, degrees = statistics.pooled_deviation(chosen)
    return Pooled(deviation, degrees, degrees + len(chosen), len(chosen), rule)


def _images(cell: Cell) -> int:
    return sum(int(cell.params.get(n, 0)) for n in (keys.N_TRAIN, keys.N_VAL, keys.N_TEST))
