"""Estimate the time left of a grid from the speed of its fits so far."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Fit:
    """One fit of a grid; the cells of a fit group share it.

    Attributes:
        cost: of the whole fit, in relative units.
        done: fraction that is done, 0 to 1; 1 also for a failed fit.
        before: fraction that this grid did not compute, 0 to `done`: done before it began, or
            failed.
        running_s: seconds since this grid started the fit; None if it is not running.
    """

    cost: float
    done: float
    before: float = 0.0
    running_s: float | None = None


def seconds_left(total_cost: float, fits: Iterable[Fit], elapsed_s: float) -> float | None:
    """Return the seconds until the grid is done; None before anything was computed.

    Work done before the grid began counts as done, but not towards its speed. The estimate is at
    least the time that the slowest running fit needs at its own speed, whatever the number of
    workers.

    Args:
        total_cost: of all fits that the grid has to compute.
        fits: those that have started.
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


class Estimate:
    """Time left of a grid, updated from the progress of its fits; times are in seconds."""

    def __init__(self, costs: Mapping[str, float], now: float):
        """Start at the time `now`, with the cost of each fit by its name."""
        self._costs = costs
        self._began = now
        self._fits: dict[str, Fit] = {}
        self._since: dict[str, float] = {}
        self._end: float | None = None

    def report(self, name: str, epoch: int, epochs: int, now: float) -> None:
        """Record that a fit has done `epoch` of `epochs`; 0 when it starts."""
        since = self._since.setdefault(name, now)
        fit = self._fits.get(name, Fit(self._costs.get(name, 0.0), 0.0))
        before = fit.before
        if not fit.done and epoch > 1:
            # It resumed from a checkpoint of an earlier grid.
            before = (epoch - 1) / epochs
        running_s = now - since if epoch < epochs else None
        self._fits[name] = replace(fit, done=epoch / epochs, before=before, running_s=running_s)
        # Only at reports: the progress between two epochs is unknown.
        left = seconds_left(sum(self._costs.values()), self._fits.values(), now - self._began)
        self._end = None if left is None else now + left

    def seconds_left(self, now: float) -> float | None:
        """Return the seconds until the grid is done; None before anything was computed."""
        return None if self._end is None else max(self._end - now, 0.0)
