"""How long a grid still takes, from what its fits have cost so far."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Fit:
    """One fit of a grid. Cells that share it cost nothing beside it.

    Attributes:
        cost: of the whole fit, in units that only compare with each other.
        done: how much of it is over, 0 to 1; 1 also where it failed.
        before: how much of it was over when the grid began, or never computed: 0 to `done`.
        running_s: seconds since this grid took it up; None where it does not run.
    """

    cost: float
    done: float
    before: float = 0.0
    running_s: float | None = None


def seconds_left(total_cost: float, fits: Iterable[Fit], elapsed_s: float) -> float | None:
    """Seconds until the grid has computed everything; None while nothing tells.

    What was over before the grid began counts as done, and not as speed. No estimate is below what
    the slowest running fit still needs by its own pace, however many workers there are.

    Args:
        total_cost: of all fits that the grid had to compute when it began.
        fits: those that have begun.
        elapsed_s: seconds since the grid began.
    """
    fits = list(fits)
    computed = sum(fit.cost * (fit.done - fit.before) for fit in fits)
    left = total_cost - sum(fit.cost * fit.done for fit in fits)
    if computed <= 0 or elapsed_s <= 0:
        return None
    alone = (
        fit.running_s * (1 - fit.done) / (fit.done - fit.before)
        for fit in fits
        if fit.running_s is not None and fit.done > fit.before
    )
    return max(max(left, 0.0) * elapsed_s / computed, *alone, 0.0)
