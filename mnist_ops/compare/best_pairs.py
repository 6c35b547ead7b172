"""The best configurations of a data set, each against each."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from mnist_ops.compare import statistics
from mnist_ops.compare.over_seeds import difference
from mnist_ops.compare.selection import Selection
from mnist_ops.compare.statistics import Comparison
from mnist_ops.compare.tables.measure import Group, values_of
from mnist_ops.core import keys

# Of these all pairs are compared: with more, the adjustment for their number hides all.
MOST = 6


@dataclass(frozen=True)
class BestPairs:
    """The best configurations, each against each.

    Attributes:
        groups: the cells of each, the best by validation first.
        compared: places of two of `groups`, the first before the second -> the first against the
            second on test images, in points; its p-value adjusted by Holm's method over all pairs.
    """

    groups: tuple[Group, ...]
    compared: dict[tuple[int, int], Comparison]

    @property
    def apart(self) -> int:
        """Return how many pairs differ significantly."""
        return sum((c.p_value or 1.0) < statistics.ALPHA for c in self.compared.values())


def best_pairs(selection: Selection, groups: Sequence[Group]) -> BestPairs | None:
    """Compare the configurations that are best by validation; None for fewer than two.

    They are chosen on validation images and compared on test images, with all seeds of both.
    """
    scored = [
        (fmean(values), group)
        for group in groups
        if (values := values_of(group, keys.VAL_ACCURACY)) and values_of(group, keys.TEST_ACCURACY)
    ]
    # sorted() keeps the order of equals.
    best = [group for _, group in sorted(scored, key=lambda pair: -pair[0])[:MOST]]
    found = {
        (first, second): compared.comparison
        for first, second in itertools.combinations(range(len(best)), 2)
        if (compared := difference(selection, best[first], best[second])) is not None
    }
    if not found:
        return None
    adjusted = statistics.holm([each.p_value for each in found.values()])
    return BestPairs(
        tuple(best),
        {
            places: replace(c, p_value=p_value)
            for (places, c), p_value in zip(found.items(), adjusted, strict=True)
        },
    )
