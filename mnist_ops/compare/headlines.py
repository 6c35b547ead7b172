"""Answers to a paper's questions, a line each, with their intervals."""

from dataclasses import dataclass

from mnist_ops.compare import statistics
from mnist_ops.compare.render import minus
from mnist_ops.compare.statistics import Interval
from mnist_ops.compare.tables.measure import TO_PERCENT, Group, values_of
from mnist_ops.core import keys


@dataclass(frozen=True)
class Headline:
    """A question of the paper, and what these runs answer."""

    question: str
    answer: str


def accuracy_interval(cells: Group) -> Interval | None:
    """Return the 95% interval of the test accuracy of one configuration, in percent.

    Student's t over several seeds, Wilson's for one; None where it is not known on how many
    images.
    """
    values = values_of(cells, keys.TEST_ACCURACY, TO_PERCENT)
    if len(values) > 1:
        return statistics.mean_interval(values).interval
    sizes = [int(cell.params.get(keys.N_TEST, 0)) for cell in cells if cell.finished]
    if not values or not all(sizes):
        return None
    low, high = statistics.wilson(values[0] / TO_PERCENT, sizes[0])
    return low * TO_PERCENT, high * TO_PERCENT


def with_interval(
    value: float, interval: Interval | None, unit: str, sign: str = "", decimals: int = 2
) -> str:
    """Return a number with its unit and, where there is one, its interval behind it."""
    low, high = (minus(f"{end:.{decimals}f}") for end in interval) if interval else ("", "")
    return minus(f"{value:{sign}.{decimals}f}{unit}") + (f" ({low} to {high})" if interval else "")
