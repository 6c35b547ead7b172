"""How many runs of which cells would decide what these runs cannot."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from mnist_ops.compare import statistics
from mnist_ops.compare.cells import Cell
from mnist_ops.compare.findings.contrast import Block, Contrast, named
from mnist_ops.compare.findings.evidence import Evidence
from mnist_ops.compare.statistics import FEWEST_UNITS
from mnist_ops.compare.tables.measure import Group, values_of
from mnist_ops.core import keys
from mnist_ops.core.durations import duration

# More seeds of a configuration are not asked for.
MOST_SEEDS = 50
# Seeds with which the spread between seeds becomes known.
_FIRST_SEEDS = 3
# Configurations that the text of a need names; the need itself has all.
_NAMED = 4


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
    return _with_seeds(blocks, _FIRST_SEEDS)


def of_blocks(evidence: Evidence, blocks: Sequence[Block], goal: Goal) -> list[MoreSeeds] | None:
    """Return the fewest seeds that reach the goal for the mean over these very configurations.

    None if `MOST_SEEDS` of each side do not.
    """
    sides = [(evidence.side(b.first, b.score), evidence.side(b.second, b.score)) for b in blocks]
    known = [(a, b) for a, b in sides if a is not None and b is not None]
    if len(known) < len(blocks) or goal.distance <= 0:
        return None
    if any(side.deviation is None for pair in known for side in pair):
        return first_seeds(blocks)
    fewest = min(len(side.values) for pair in known for side in pair)
    for n in range(fewest + 1, MOST_SEEDS + 1):
        parts = (statistics.planned(a, b, n) for a, b in known)
        error, degrees = statistics.summed((e**2 / len(blocks) ** 2, d) for e, d in parts)
        if statistics.found(goal.distance, error, degrees, goal.alpha):
            return _with_seeds(blocks, n)
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
    if goal.distance <= 0:
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
            return _with_seeds(blocks, n)
    return None


def _with_seeds(blocks: Sequence[Block], n: int) -> list[MoreSeeds]:
    sides = ((cells, block) for block in blocks for cells in (block.first, block.second))
    return [more for cells, block in sides if (more := _more(cells, n, block)).seeds]


def configuration_of(cell: Cell) -> dict[str, Any]:
    """Return the params that a cell has in common with the other seeds of its configuration."""
    return {name: v for name, v in cell.identifying.items() if name != keys.SEED}


def _more(cells: Group, n: int, block: Block) -> MoreSeeds:
    first = cells[0]
    params = configuration_of(first)
    times = values_of(cells, keys.TRAIN_TIME_S)
    have = len(block.score.by_seed(cells))
    return MoreSeeds(first.study, params, max(0, n - have), fmean(times) if times else None)


def everywhere(
    evidence: Evidence,
    contrast: Contrast,
    shown: Sequence[float],
    required: int,
    distance_of: Callable[[float], float],
    sides: int,
) -> list[MoreSeeds] | None:
    """Return the cheapest seeds that show enough configurations, or that show one contrary.

    Args:
        evidence: the runs that there are.
        contrast: the configurations.
        shown: adjusted p-value of "the claim holds there", one a configuration.
        required: how many have to be shown.
        distance_of: from an effect to how far it is inside the claim.
        sides: 2 if the test of a configuration is two-sided, else 1.
    """
    alpha = evidence.alpha / len(contrast.blocks)
    lacking = required - sum(p < evidence.alpha for p in shown)
    supporting, refuting = [], []
    for block, p_value in zip(contrast.blocks, shown, strict=True):
        distance = distance_of(block.effect)
        if p_value < evidence.alpha:
            continue
        if distance > 0:
            plan = of_blocks(evidence, [block], Goal(distance, alpha * 2 / sides))
            supporting += [plan] if plan is not None else []
        elif plan := of_blocks(evidence, [block], Goal(-distance, alpha / 2)):
            refuting.append(plan)
    supporting.sort(key=_seconds)
    enough = [each for plan in supporting[:lacking] for each in plan]
    return cheapest([enough if len(supporting) >= lacking else None, *refuting])


def on_average(evidence: Evidence, contrast: Contrast, goal: Goal) -> list[MoreSeeds] | None:
    """Return the fewest seeds that reach the goal for the mean over the configurations."""
    if len(contrast.units) < FEWEST_UNITS:
        return of_blocks(evidence, contrast.blocks, goal)
    return of_mean(evidence, contrast.units, goal)


def described(need: Need) -> str:
    """Describe a need: how many runs, of which cells, and how long that takes."""
    time = "" if need.seconds is None else f", about {duration(need.seconds)} on one core here"
    cells = [
        f"{each.seeds} of {named(each.params)}"
        for each in sorted(need.cells, key=lambda each: -each.seeds)[:_NAMED]
    ]
    more = len(need.cells) - len(cells)
    rest = f", and of {more} more configuration{'' if more == 1 else 's'}" if more else ""
    runs = "1 more run" if need.runs == 1 else f"{need.runs} more runs"
    return f"{runs}{time}: {'; '.join(cells)}{rest}"


def _seconds(plan: Sequence[MoreSeeds]) -> float:
    return sum(each.seeds * (each.seconds or 0.0) for each in plan)


def cheapest(plans: Iterable[list[MoreSeeds] | None]) -> list[MoreSeeds] | None:
    """Return the plan that takes the least time; None without any."""
    known = [plan for plan in plans if plan]
    return min(known, key=_seconds, default=None)
