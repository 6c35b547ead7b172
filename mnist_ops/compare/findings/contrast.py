"""Configurations matched in pairs that differ in one setting only, each training once."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from mnist_ops.compare import statistics
from mnist_ops.compare.cells import IDENTITY, Cell, arguments_in, identifying, identity, trainings
from mnist_ops.compare.seed_noise import ACCURACY, Score
from mnist_ops.compare.statistics import Comparison
from mnist_ops.compare.tables.labels import configuration, model_label
from mnist_ops.compare.tables.measure import Group, absence, grouped
from mnist_ops.core import keys


@dataclass(frozen=True)
class Block:
    """A configuration at both settings, which it differs in alone.

    Attributes:
        first: its seeds at the first setting, of which each has the score.
        second: at the second.
        score: what is compared.
    """

    first: Group
    second: Group
    score: Score

    @property
    def effect(self) -> float:
        """Return the first's mean less the second's, of logarithms for a ratio."""
        first, second = self.values
        return fmean(first) - fmean(second)

    @property
    def values(self) -> tuple[list[float], list[float]]:
        """Return the scores of both sides."""
        first, second = (list(self.score.by_seed(c).values()) for c in (self.first, self.second))
        return first, second

    @property
    def shared(self) -> dict[str, Any]:
        """Return the params that both sides have in common."""
        first, second = self.first[0].params, self.second[0].params
        return {
            name: value
            for name, value in identifying(first).items()
            if name != keys.SEED and second.get(name) == value
        }

    @property
    def name(self) -> str:
        """Return what both sides share, in the words of the tables."""
        return named(self.shared)


@dataclass(frozen=True)
class Contrast:
    """One score of the configurations with one setting against those with another.

    Attributes:
        blocks: the matched configurations, every training once.
        copies: finished cells left out because they are other cells' training again.
        lacking: what there should be a block of, and why there is none -> how many.
        uncovered: data sets of which there should be blocks, and are none.
        clusters: a name a block; blocks of one name share a side.
    """

    blocks: tuple[Block, ...]
    copies: int
    lacking: Mapping[str, int]
    uncovered: tuple[str, ...]
    clusters: tuple[str, ...] = ()

    @property
    def is_ratio(self) -> bool:
        """Return whether values are compared by their ratio."""
        return bool(self.blocks) and self.blocks[0].score.is_ratio

    @property
    def units(self) -> list[list[Block]]:
        """Return the blocks by configuration: those that share a side are one."""
        if not self.clusters:
            return [[block] for block in self.blocks]
        pairs = zip(self.clusters, self.blocks, strict=True)
        return [[b for _, b in group] for group in grouped(pairs, lambda pair: pair[0]).values()]

    @property
    def effects(self) -> list[float]:
        """Return the mean effect of each unit."""
        return [fmean(block.effect for block in unit) for unit in self.units]

    @property
    def trainings(self) -> int:
        """Return how many trainings both sides have."""
        cells = [cell for block in self.blocks for cell in (*block.first, *block.second)]
        return len({cell.fingerprint for cell in cells})

    @property
    def counted(self) -> str:
        """Describe how many blocks and trainings there are, how many are copies or missing."""
        parts = [f"{len(self.blocks)} matched configurations of {self.trainings} runs"]
        parts += [f"{self.copies} more runs are copies of these"] if self.copies else []
        return ", ".join(parts + [f"{n} lacking ({why})" for why, n in self.lacking.items()])

    @property
    def needed(self) -> str:
        """Describe what must be run for the missing blocks."""
        reasons = ", ".join(self.lacking) or "the grid has no such cells"
        of = f" of {', '.join(self.uncovered)}" if self.uncovered else ""
        return f"finished cells{of} on both sides of the comparison ({reasons})"

    def where(self, **params: Any) -> "Contrast":
        """Return the contrast of the blocks that share these params."""
        chosen = [
            i
            for i, block in enumerate(self.blocks)
            if all(block.shared.get(name) == value for name, value in params.items())
        ]
        clusters = tuple(self.clusters[i] for i in chosen) if self.clusters else ()
        return Contrast(tuple(self.blocks[i] for i in chosen), 0, {}, (), clusters)


def contrast(
    cells: Iterable[Cell],
    first: Mapping[str, Any],
    second: Mapping[str, Any],
    score: Score = ACCURACY,
) -> Contrast:
    """Match the configurations that have the params `first` with those that have `second`.

    Two match that agree in all that identifies them except in these params, the seed, and
    arguments of functions that are on one side alone. Numbers of epochs are compared within one
    training, thus by the seeds that have both. A time or loss of zero was not measured.
    """
    cells = list(cells)
    having = [
        [c for c in cells if all(c.params.get(k) == v for k, v in wanted.items())]
        for wanted in (first, second)
    ]
    apart = put_apart(first, second, *([cell.params for cell in side] for side in having))
    sides = [{identity(group[0], *apart): group for group in trainings(side)} for side in having]
    blocks: list[Block] = []
    lacking: dict[str, int] = {}
    datasets: dict[str, bool] = {}
    for key in dict.fromkeys([*sides[0], *sides[1]]):
        both = [side.get(key, []) for side in sides]
        dataset = str((both[0] or both[1])[0].params.get(keys.DATASET))
        usable = [[cell for cell in side if score.of(cell) is not None] for side in both]
        if keys.EPOCHS in first:
            seeds = set(score.by_seed(usable[0])) & set(score.by_seed(usable[1]))
            usable = [[c for c in side if c.params.get(keys.SEED) in seeds] for side in usable]
        datasets[dataset] = datasets.get(dataset, False) or all(usable)
        if all(usable):
            blocks.append(Block(tuple(usable[0]), tuple(usable[1]), score))
            continue
        side = 0 if not usable[0] else 1
        why = f"{_setting((first, second)[side])}: " + (
            f"no {score.metric}" if any(c.finished for c in both[side]) else absence(both[side])
        )
        lacking[why] = lacking.get(why, 0) + 1
    finished = sum(
        score.of(c) is not None
        for c in cells
        if any(all(c.params.get(k) == v for k, v in wanted.items()) for wanted in (first, second))
    )
    used = sum(len(block.first) + len(block.second) for block in blocks)
    if keys.GAMMA in first:
        # Where both rules are one kernel there is nothing to compare.
        blocks = [b for b in blocks if len(trainings([*b.first, *b.second])) > 1] or blocks
    copies = finished - used if blocks and not lacking else 0
    uncovered = tuple(name for name, covered in datasets.items() if not covered)
    return Contrast(tuple(blocks), copies, lacking, uncovered)


def put_apart(
    first: Mapping[str, Any], second: Mapping[str, Any], *sides: Iterable[Mapping[str, Any]]
) -> set[str]:
    """Return the params that configurations may differ in and still match.

    Args:
        first: the params of the one setting.
        second: those of the other.
        sides: the params of each configuration of the one, and of the other.
    """
    taken = [{name for params in side for name in arguments_in(params)} for side in sides]
    # Momentum is SGD's own: it cannot tell two optimizers' cells apart.
    momentum = {keys.MOMENTUM} if keys.OPTIMIZER in first else set()
    return {*first, *second, keys.SEED, *momentum, *(taken[0] ^ taken[1])}


def merged(contrasts: Sequence[Contrast]) -> Contrast:
    """Several contrasts as one; blocks that have a side in common are one unit of it."""
    lacking: dict[str, int] = {}
    for each in contrasts:
        for why, count in each.lacking.items():
            lacking[why] = lacking.get(why, 0) + count
    blocks = [block for each in contrasts for block in each.blocks]
    return Contrast(
        tuple(blocks),
        # Every contrast leaves out the copies of the side that they share.
        max((each.copies for each in contrasts), default=0),
        lacking,
        tuple(dict.fromkeys(name for each in contrasts for name in each.uncovered)),
        tuple(block.name for block in blocks),
    )


def _setting(params: Mapping[str, Any]) -> str:
    if params.get(keys.DEVICE) == "cuda":
        return "on a GPU"
    return ", ".join(f"{name}={value}" for name, value in params.items())


def named(params: Mapping[str, Any]) -> str:
    """Return the params of a configuration in the words of the tables."""
    rest = {name: v for name, v in params.items() if name not in (keys.MODEL, keys.PIN_MEMORY)}
    parts = [str(rest.get(keys.DATASET, "")), configuration(rest)]
    # The method with kernels has one model.
    if keys.MODEL in params and not {keys.KERNEL, keys.C, keys.GAMMA} & params.keys():
        parts.insert(1, model_label(str(params[keys.MODEL])))
    parts += [f"{name}={params[name]}" for name in params if name not in IDENTITY]
    return ", ".join(part for part in parts if part)


def mean_test(contrast: Contrast) -> Comparison:
    """Test the mean over the units, each with equal weight: a t test over units.

    In logarithms for a ratio.
    """
    return statistics.paired(contrast.effects)


def as_ratio(value: float) -> float:
    """Return the ratio of a difference of logarithms; infinite beyond all measure."""
    return math.exp(min(value, 700.0))
