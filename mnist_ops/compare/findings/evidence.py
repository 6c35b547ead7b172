"""The evidence that a claim is tested on: selected cells, predictions, and seed noise."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from mnist_ops.compare import statistics
from mnist_ops.compare.cells import Cell, identity
from mnist_ops.compare.predictions import Predictions, PredictionsOf
from mnist_ops.compare.runs import RUN_ID, TIME
from mnist_ops.compare.seed_noise import ACCURACY, Score, SeedNoise
from mnist_ops.compare.selection import Selection
from mnist_ops.compare.statistics import ALPHA, Comparison, Side
from mnist_ops.compare.tables.measure import Group
from mnist_ops.core import keys


@dataclass(frozen=True)
class Size:
    """What the runs of a preset are.

    Attributes:
        scope: in a few words, the preset's name and a colon before them.
        about: in a sentence.
        more: what would tell more than these runs do.
    """

    scope: str
    about: str
    more: str = "more seeds"


@dataclass(frozen=True)
class Evidence:
    """The selected cells, and a way to their predictions.

    Attributes:
        selection: the cells.
        predictions: run id -> predictions; asked only for the runs that a claim needs.
        sizes: what runs of a preset are, by its name.
        at: preset -> the cells at it, for what a claim leaves out; None where there are none.
        alpha: level of the test of one claim.
    """

    selection: Selection
    predictions: PredictionsOf
    sizes: Mapping[str, Size] = field(default_factory=dict)
    at: Callable[[str], Selection | None] = lambda preset: None
    alpha: float = ALPHA

    @cached_property
    def scope(self) -> str:
        """Describe the runs that a verdict speaks of: preset, and seeds a configuration."""
        preset = self.selection.preset
        counts = Counter(
            identity(cell, keys.SEED) for cell in self.selection.cells if cell.finished
        ).values()
        least, most = min(counts, default=0), max(counts, default=0)
        seeds = f"{most} seed{'' if most == 1 else 's'}"
        scope = self.sizes[preset].scope if preset in self.sizes else preset
        return f"{scope}, {seeds if least == most else f'{least} to {seeds}'}"

    @property
    def more(self) -> str:
        """Describe which further runs would be informative."""
        size = self.sizes.get(self.selection.preset)
        return size.more if size else "more seeds"

    def cells(self, *studies: str, **params: Any) -> list[Cell]:
        """Return the cells of the studies that have these params, finished or not."""
        return [
            cell
            for study in studies
            for cell in self.selection.of(study)
            if all(cell.params.get(name) == value for name, value in params.items())
        ]

    def predicted(self, cell: Cell) -> Predictions | None:
        """Return the cell's predictions, if it has any."""
        return None if cell.run_id is None else self.predictions(cell.run_id)

    def side(self, cells: Group, score: Score = ACCURACY) -> Side | None:
        """Return the seeds of one configuration and their noise; None without values."""
        return SeedNoise.of(self.selection).side(cells, score)

    def compare(self, first: Group, second: Group, score: Score = ACCURACY) -> Comparison | None:
        """Compare two configurations of the selection, from all seeds of both.

        The effect is in percentage points of accuracy, or in the logarithm of a ratio. It has no
        interval where no deviation between seeds is known; None where a side has no values.
        """
        sides = self.side(first, score), self.side(second, score)
        if sides[0] is None or sides[1] is None:
            return None
        return statistics.of_sides(sides[0], sides[1])

    def copied(self, cell: Cell) -> bool:
        """Return whether the cell took its result from the training of another."""
        return cell.run_id in self._copies

    @cached_property
    def _copies(self) -> frozenset[str]:
        runs = self.selection.runs
        return frozenset(runs[RUN_ID][runs[TIME] == keys.TIME_ATTRIBUTED])
