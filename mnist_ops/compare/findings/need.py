"""How many runs of which cells would decide what these runs cannot."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from mnist_ops.compare import statistics
from mnist_ops.compare.cells import identifying
from mnist_ops.compare.findings.contrast import Block
from mnist_ops.compare.findings.evidence import Evidence
from mnist_ops.compare.statistics import ENOUGH_SEEDS, Side
from mnist_ops.compare.tables.measure import Group, values_of
from mnist_ops.core import keys

# More seeds of a configuration are not asked for.
MOST_SEEDS = 50
# Seeds with which the spread between seeds becomes known.
_FIRST_SEEDS = 3


@dataclass(frozen=True)
class MoreSeeds:
    """One configuration that more seeds are needed of.

    Attributes:
        study: the study of its cells.
        params: what its cells have in common.
        seeds: how many more.
        seconds: of one run, as measured here; None where none was.
    """

    study: str
    params: Mapping[str, Any]
    seeds: int
    seconds: float | None


@dataclass(frozen=True)
class Need:
    """What would decide a claim with a chance of 80%, if the effect is as it seems.

    Attributes:
        cells: the configurations, each once.
        runs: how many runs these are.
        seconds: the time of all, one after another; None where it is not known of one.
    """

    cells: tuple[MoreSeeds, ...]
    runs: int
    seconds: float | None


@dataclass(frozen=True)
class Goal:
    """What a test of one configuration against another is to show.

    Attributes:
        distance: how far the effect seems to be on the side that is to be shown.
        alpha: two-sided level of the test.
    """

    distance: float
    alpha: float


def total(parts: Iterable[MoreSeeds]) -> Need | None:
    """Sum up; of a configuration that is in several parts the most seeds count. None for none."""
    chosen: dict[tuple[Any, ...], MoreSeeds] = {}
    for part in parts:
        key = (part.study, *sorted((name, str(value)) for name, value in part.params.items()))
        if part.seeds > 0 and (key not in chosen or part.seeds > chosen[key].seeds):
            chosen[key] = part
    if not chosen:
        return None
    cells = tuple(chosen.values())
    times = [None if c.seconds is None else c.seeds * c.seconds for c in cells]
    known = [time for time in times if time is not None]
    seconds = sum(known) if len(known) == len(times) else None
    return Need(cells, sum(c.seeds for c in cells), seconds)


def first_seeds(blocks: Sequence[Block]) -> list[MoreSeeds]:
    """Return the seeds with which a deviation becomes known, of each side."""
    return [
        more for block in blocks for more in _to(block, _FIRST_SEEDS, _FIRST_SEEDS) if more.seeds
    ]


def of_block(evidence: Evidence, block: Block, goal: Goal) -> list[MoreSeeds] | None:
    """Return the fewest seeds of both sides that reach the goal; None if `MOST_SEEDS` do not."""
    sides = evidence.side(block.first, block.score), evidence.side(block.second, block.score)
    if sides[0] is None or sides[1] is None or goal.distance <= 0:
        return None
    if sides[0].deviation is None or sides[1].deviation is None:
        return first_seeds([block])
    smallest = min(len(side.values) for side in sides if side)
    for n in range(smallest + 1, MOST_SEEDS + 1):
        counts = [max(n, len(side.values)) for side in sides if side]
        error, degrees = _planned(sides[0], sides[1], counts[0], counts[1])
        if statistics.found(goal.distance, error, degrees, goal.alpha):
            return _to(block, counts[0], counts[1])
    return None


def of_mean(
    evidence: Evidence, units: Sequence[Sequence[Block]], goal: Goal
) -> list[MoreSeeds] | None:
    """Return the fewest seeds, as many of each configuration, that reach the goal on average.

    Seeds reduce the noise in each unit's effect, and not how much true effects differ.
    """
    blocks = [block for unit in units for block in unit]
    sides = [(evidence.side(b.first, b.score), evidence.side(b.second, b.score)) for b in blocks]
    known = [(a, b) for a, b in sides if a is not None and b is not None]
    if len(units) < 2 or goal.distance <= 0:
        return None
    if any(a.deviation is None or b.deviation is None for a, b in known):
        return first_seeds(blocks)
    effects = [fmean(block.effect for block in unit) for unit in units]
    spread = (statistics.mean_interval(effects).deviation or 0.0) ** 2
    now = fmean(a.variance() + b.variance() for a, b in known)
    true = max(0.0, spread - now)
    for n in range(2, MOST_SEEDS + 1):
        noise = fmean(
            a.variance(max(n, len(a.values))) + b.variance(max(n, len(b.values))) for a, b in known
        )
        error = math.sqrt((true + noise) / len(units))
        if statistics.found(goal.distance, error, len(units) - 1, goal.alpha):
            return [more for block in blocks for more in _to(block, n, n) if more.seeds]
    return None


def _planned(first: Side, second: Side, n: int, m: int) -> tuple[float, float]:
    error = math.sqrt(first.variance(n) + second.variance(m))
    own = [count - 1 for count in (n, m) if count >= ENOUGH_SEEDS]
    return error, sum(own) if len(own) > 1 else max(*own, first.degrees, second.degrees)


def _to(block: Block, n: int, m: int) -> list[MoreSeeds]:
    return [_more(block.first, n, block), _more(block.second, m, block)]


def _more(cells: Group, n: int, block: Block) -> MoreSeeds:
    first = cells[0]
    params = {n: v for n, v in identifying(first.params).items() if n != keys.SEED}
    times = values_of(cells, keys.TRAIN_TIME_S)
    have = len(block.score.by_seed(cells))
    return MoreSeeds(first.study, params, max(0, n - have), fmean(times) if times else None)
