"""How far seeds lie apart, for configurations that have too few of their own to tell."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mnist_ops import keys
from mnist_ops.compare import statistics
from mnist_ops.compare.cells import RESNET_GRID, SVM_GRID
from mnist_ops.compare.findings.evidence import configurations
from mnist_ops.compare.selection import Selection
from mnist_ops.compare.statistics import Interval
from mnist_ops.compare.tables.measure import values_of

# From so many seeds on a configuration's own deviation is used. Of two it has one degree of
# freedom, for which Student's quantile is 12.7: a range that holds anything.
ENOUGH_SEEDS = 3

# What makes configurations alike enough to have one deviation.
_FAMILY = (keys.MODEL, keys.DATASET, keys.EPOCHS)


@dataclass(frozen=True)
class Spread:
    """The deviation of the seeds of a family, pooled over its configurations.

    Attributes:
        deviation: root of the mean of the configurations' variances, weighted by their degrees
            of freedom; in the unit of the values.
        degrees: of freedom: seeds, less one a configuration.
        configurations: that have several seeds.
    """

    deviation: float
    degrees: int
    configurations: int

    @property
    def text(self) -> str:
        """How much it rests on, for a sentence: ``11 seeds of 4 configurations``."""
        seeds = f"{self.degrees + self.configurations} seeds"
        one = "one configuration" if self.configurations == 1 else ""
        return f"{seeds} of {one or f'{self.configurations} configurations'}"

    def of_another(self, mean: float, n: int) -> Interval:
        """Where one more seed's value falls 95% of the time, after `n` of this mean."""
        return statistics.of_another(mean, self.deviation, n, self.degrees)


def family_spread(
    selection: Selection, params: Mapping[str, Any], metric: str, scale: float = 1
) -> Spread | None:
    """The spread in the family that `params` name: model, data set and number of epochs.

    None where no configuration of the family has several seeds. It is read from the two grids:
    `device_compare` trains some of their configurations again. Two that are one training (with
    pinned memory and without, on a CPU) have the same values, and count once.
    """
    family = [
        cell
        for study in (RESNET_GRID, SVM_GRID)
        for cell in selection.of(study)
        if not cell.variant and all(cell.params.get(k) == params.get(k) for k in _FAMILY)
    ]
    several = {
        tuple(values)
        for cells in configurations(family)
        if len(values := values_of(cells, metric, scale)) > 1
    }
    if not several:
        return None
    deviation, degrees = statistics.pooled_deviation(sorted(several))
    return Spread(deviation, degrees, len(several))
