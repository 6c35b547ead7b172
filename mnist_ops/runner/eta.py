"""How long a grid still takes, from what its fits have cost so far."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace


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


class Estimate:
    """What is left of a grid, by what its fits report; times are of any clock, in seconds."""

    def __init__(self, costs: Mapping[str, float], now: float):
        """A grid that begins `now`, and has to compute fits of these costs, by name."""
        self._costs = costs
        self._began = now
        self._fits: dict[str, Fit] = {}
        self._since: dict[str, float] = {}
        self._end: float | None = None

    def report(self, name: str, epoch: int, epochs: int, now: float) -> None:
        """A fit has come to `epoch` of `epochs`; 0 when it is taken up."""
        since = self._since.setdefault(name, now)
        fit = self._fits.get(name, Fit(self._costs.get(name, 0.0), 0.0))
        before = fit.before
        if not fit.done and epoch > 1:
            # It went on where an earlier grid had left it.
            before = (epoch - 1) / epochs
        running_s = now - since if epoch < epochs else None
        self._fits[name] = replace(fit, done=epoch / epochs, before=before, running_s=running_s)
        # Only now: what fits have done since their last epoch is not known in between.
        left = seconds_left(sum(self._costs.values()), self._fits.values(), now - self._began)
        self._end = None if left is None else now + left

    def seconds_left(self, now: float) -> float | None:
        """Seconds until all is computed; None while nothing tells."""
        return None if self._end is None else max(self._end - now, 0.0)


def duration(seconds: float) -> str:
    """Seconds for people, to about a tenth: ``45 s``, ``12 min``, ``3 h 20 min``, ``2 d 4 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"
