"""By how much a score differs from run to run, and what that is known from.

A configuration's own seeds tell, where they are enough; else those of its family do, pooled. But a
few seeds can lie closer together than the chance in their test images makes likely (and SVMs
of one seed share these images, so that all of them do at once): it is never taken for less than
that. Where nothing has a second seed, that is all that is known.

A weighted F1 is taken for a share of the images, as an accuracy is: bootstrapped over the test
images of recorded runs, its deviation was within a tenth of that share's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mnist_ops.compare import statistics
from mnist_ops.compare.cells import Cell
from mnist_ops.compare.findings.evidence import configurations
from mnist_ops.compare.selection import Selection
from mnist_ops.compare.statistics import Interval, Mean
from mnist_ops.compare.tables.measure import TO_PERCENT, values_of
from mnist_ops.core import keys

# What chance is known from, the best first.
OWN_SEEDS, LIKE_IT, IMAGES = "its seeds", "seeds of configurations like it", "test images alone"
BASES = (OWN_SEEDS, LIKE_IT, IMAGES)

# From so many seeds on a configuration's own deviation is used. Student's quantile is 12.7 for two
# seeds and 4.3 for three: ranges that hold nearly anything. For five it is 2.8.
_ENOUGH_SEEDS = 5

# What makes configurations alike enough to have one deviation. A support vector machine's goes
# with its accuracy, which its kernel and C decide.
_FAMILY = (keys.MODEL, keys.DATASET, keys.EPOCHS, keys.KERNEL, keys.C)


@dataclass(frozen=True)
class Score:
    """A metric of the runs, from 0 to 1 there, and what it is multiplied by: 100 for percent."""

    metric: str
    scale: float


ACCURACY = Score(keys.TEST_ACCURACY, TO_PERCENT)
F1 = Score(keys.TEST_F1, 1)


@dataclass(frozen=True)
class Chance:
    """Where one run's score falls 95% of the time, about a mean of several.

    Attributes:
        mean: of the runs.
        n: how many there were.
        of_one: where one of them falls.
        basis: one of `BASES`.
        text: the basis in words.
    """

    mean: float
    n: int
    of_one: Interval
    basis: str
    text: str

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

    def add(of_one: Interval, basis: str, text: str) -> None:
        found.append(Chance(own.mean, own.n, of_one, basis, f"{seeds}: the range has {text}"))

    if own.deviation is not None and own.n >= _ENOUGH_SEEDS:
        of_one = statistics.student_interval(own.mean, own.deviation, own.n - 1)
        add(of_one, OWN_SEEDS, "their spread")
    elif several := _family(selection, params, score):
        deviation, degrees = statistics.pooled_deviation(several)
        of_one = statistics.student_interval(own.mean, deviation, degrees)
        of = "one configuration" if len(several) == 1 else f"{len(several)} configurations"
        text = f"the spread of {degrees + len(several)} seeds of {of} of this model and data set"
        add(of_one, LIKE_IT, text)
    if images:
        low, high = statistics.wilson(own.mean / score.scale, images)
        of_one = (low * score.scale, high * score.scale)
        add(of_one, IMAGES, "the chance in the test images alone")
    return max(found, key=lambda each: each.apart, default=None)


def fewest_images(cells: Iterable[Cell]) -> int:
    """On how many test images the finished cells were measured, at the least; 0 if none tells."""
    sizes = [int(c.params[keys.N_TEST]) for c in cells if c.finished and keys.N_TEST in c.params]
    return min(sizes, default=0)


def _family(
    selection: Selection, params: Mapping[str, Any], score: Score
) -> list[tuple[float, ...]]:
    """Return the scores of the family's configurations that have several seeds.

    A study that is about time trains configurations of others again, and is not read.
    Two that are one training (with pinned memory and without, on a CPU) have the same values, and
    count once.
    """
    family = [
        cell
        for study in selection.studies
        if not study.is_about_time
        for cell in selection.of(study.name)
        if not cell.variant and all(cell.params.get(k) == params.get(k) for k in _FAMILY)
    ]
    several = {
        tuple(values)
        for cells in configurations(family)
        if len(values := values_of(cells, score.metric, score.scale)) > 1
    }
    return sorted(several)
