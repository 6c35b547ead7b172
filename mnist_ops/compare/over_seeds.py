"""The mean of a configuration over its seeds, and the difference of two, with all seeds of each.

The deviation of one run is that of `seed_noise`: the configuration's own from five seeds on, else
the pooled one of its family, and never less than the noise of its test images. So the interval of
one seed is not narrower than that of several. Splits that overlap are corrected for.
"""

import math
from dataclasses import dataclass

from mnist_ops.compare import statistics
from mnist_ops.compare.seed_noise import ACCURACY, SeedNoise, fewest_images
from mnist_ops.compare.selection import Selection
from mnist_ops.compare.statistics import Comparison, Interval
from mnist_ops.compare.tables.measure import TO_PERCENT, Group


@dataclass(frozen=True)
class Difference:
    """One configuration against another.

    Attributes:
        comparison: of their means over all seeds.
        of_another: where the difference of one more run of each falls 95% of the time; None where
            no deviation between seeds is known.
    """

    comparison: Comparison
    of_another: Interval | None


def difference(selection: Selection, first: Group, second: Group) -> Difference | None:
    """Compare the test accuracies of two configurations, in points; None if one has none."""
    noise = SeedNoise.of(selection)
    sides = noise.side(first, ACCURACY), noise.side(second, ACCURACY)
    if sides[0] is None or sides[1] is None:
        return None
    comparison = statistics.of_sides(sides[0], sides[1])
    known = [
        (side.deviation**2 * (1 + 1 / len(side.values)), side.degrees)
        for side in sides
        if side is not None and side.deviation is not None
    ]
    if len(known) < 2:
        return Difference(comparison, None)
    error, degrees = statistics.summed(known)
    of_another = statistics.student_interval(comparison.effect, error, degrees)
    return Difference(comparison, of_another)


def accuracy_interval(selection: Selection, cells: Group) -> Interval | None:
    """Return the 95% interval of a configuration's mean test accuracy, in percent.

    Where no configuration like it has a second seed, Wilson's for one seed; None where it is not
    known either on how many images.
    """
    side = SeedNoise.of(selection).side(cells, ACCURACY)
    if side is None:
        return None
    if side.deviation is None:
        images = fewest_images(cells)
        if not images:
            return None
        low, high = statistics.wilson(side.mean / TO_PERCENT, images)
        return low * TO_PERCENT, high * TO_PERCENT
    low, high = statistics.student_interval(side.mean, math.sqrt(side.variance()), side.degrees)
    return max(low, 0.0), min(high, float(TO_PERCENT))
