"""The configurations of any grid: which params vary, and which cells differ in the seed alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, TypeAlias

import pandas as pd

from mnist_ops.compare import statistics
from mnist_ops.compare.cells import BOOKKEEPING, Cell
from mnist_ops.compare.over_seeds import accuracy_interval
from mnist_ops.compare.selection import Selection
from mnist_ops.compare.statistics import Comparison, Interval
from mnist_ops.compare.tables.measure import TO_PERCENT, Group, grouped, values_of
from mnist_ops.compare.tables.table import PERCENT, Kind
from mnist_ops.compare.what_matters import SCORE, SEED
from mnist_ops.core import keys

# Params whose values say what they are of.
_NAMES = (keys.MODEL, keys.DATASET, keys.OPTIMIZER)


@dataclass(frozen=True)
class Score:
    """The metric that a report is about.

    Attributes:
        metric: as in runs.
        label: name and unit.
        scale: what values are multiplied by in print.
        kind: how they are written.
        chosen_by: the metric that the best configuration is chosen by, the highest first.
        seed: the param whose values are repeats of one configuration.
        lowest: whether less is better.
    """

    metric: str = keys.TEST_ACCURACY
    label: str = "Test accuracy (%)"
    scale: float = TO_PERCENT
    kind: Kind = PERCENT
    chosen_by: str = keys.VAL_ACCURACY
    seed: str = keys.SEED
    lowest: bool = False

    @property
    def unit(self) -> str:
        """Behind a value in a sentence."""
        return "%" if self.is_accuracy else ""

    @property
    def is_accuracy(self) -> bool:
        """Return whether it is a share of the test images."""
        return self.metric == keys.TEST_ACCURACY


@dataclass(frozen=True)
class Configuration:
    """Cells that differ in the seed alone.

    Attributes:
        values: axis -> value; None where the cells do not have the param.
        cells: one a seed.
        score: what they are measured by.
        selection: all cells, which tell the deviation between seeds.
    """

    values: Mapping[str, Any]
    cells: Group
    score: Score
    selection: Selection

    @property
    def results(self) -> list[float]:
        """The score of each finished cell."""
        return values_of(self.cells, self.score.metric, self.score.scale)

    @property
    def by_seed(self) -> dict[Any, float]:
        """Seed -> the score of its finished cell."""
        metric, scale = self.score.metric, self.score.scale
        return {
            cell.params.get(self.score.seed, number): cell.metrics[metric] * scale
            for number, cell in enumerate(self.cells)
            if metric in cell.metrics
        }

    @property
    def mean(self) -> float | None:
        """The mean score; None where no cell is finished."""
        return fmean(self.results) if self.results else None

    @property
    def chosen_by(self) -> float | None:
        """The mean of what is chosen by."""
        found = values_of(self.cells, self.score.chosen_by, self.score.scale)
        return fmean(found) if found else None

    @property
    def rank(self) -> float:
        """The higher, the better by what is chosen by."""
        value = self.chosen_by or 0.0
        return -value if self.score.lowest else value

    @property
    def interval(self) -> Interval | None:
        """95%, of the mean, by `over_seeds`; of what is no accuracy Student's t over its seeds."""
        results = self.results
        if not results:
            return None
        if not self.score.is_accuracy:
            return statistics.mean_interval(results).interval
        return accuracy_interval(self.selection, self.cells)

    def mean_of(self, metric: str) -> float | None:
        """Return the mean of another metric; None where no cell has it."""
        found = values_of(self.cells, metric)
        return fmean(found) if found else None

    def text(self, without: Sequence[str] = ()) -> str:
        """Return the values of the axes in short: ``small_cnn, width 8, dropout 0.2``."""
        return in_words({k: v for k, v in self.values.items() if k not in without})


# The values of the other axes -> a configuration.
_ByOthers: TypeAlias = Mapping[tuple[Any, ...], Configuration]


@dataclass(frozen=True)
class Effect:
    """One value of an axis against its first, all else the same.

    Attributes:
        axis: its name.
        value: of the axis.
        mean: over the configurations that have it, each with equal weight.
        n: how many these are.
        against_first: what it has more than the first value, in configurations that differ in
            nothing else; None for the first value itself.
    """

    axis: str
    value: Any
    mean: float
    n: int
    against_first: Comparison | None


@dataclass(frozen=True)
class Grid:
    """The configurations of a selection.

    Attributes:
        axes: params with more than one value, in the order of the grid -> their values.
        fixed: params with one value.
        seeds: values of the seed.
        configurations: in the order of the cells.
    """

    axes: Mapping[str, tuple[Any, ...]]
    fixed: Mapping[str, Any]
    seeds: tuple[Any, ...]
    configurations: tuple[Configuration, ...]

    @property
    def datasets(self) -> tuple[Any, ...]:
        """The data sets; one without a name where no cell names any."""
        return self.axes.get(keys.DATASET) or (self.fixed.get(keys.DATASET),)

    def of(self, dataset: Any) -> list[Configuration]:
        """Return the configurations of a data set."""
        if keys.DATASET not in self.axes:
            return list(self.configurations)
        return [each for each in self.configurations if each.values[keys.DATASET] == dataset]

    def best(self, dataset: Any) -> Configuration | None:
        """Return the configuration that is best by what is chosen by; the first of equals."""
        there = [c for c in self.of(dataset) if c.chosen_by is not None and c.results]
        return max(there, key=lambda each: each.rank, default=None)

    def runs(self, dataset: Any = None) -> pd.DataFrame:
        """Return a row a finished run: its value of each axis, seed and score."""
        configurations = self.configurations if dataset is None else self.of(dataset)
        rows = [
            {**each.values, SEED: seed, SCORE: value}
            for each in configurations
            for seed, value in each.by_seed.items()
        ]
        return pd.DataFrame(rows, columns=[*self.axes, SEED, SCORE])

    def best_by_model(self, dataset: Any) -> list[Configuration]:
        """Return the best configuration of each model, the best of all first."""
        by_model: dict[Any, Configuration] = {}
        for each in self.of(dataset):
            if each.chosen_by is not None and each.results:
                model = each.values.get(keys.MODEL)
                by_model[model] = max(by_model.get(model, each), each, key=lambda c: c.rank)
        return sorted(by_model.values(), key=lambda each: -each.rank)

    def effects(self, axis: str) -> list[Effect]:
        """Return the effect of each value of an axis that has a result."""
        by_value: dict[Any, dict[tuple[Any, ...], Configuration]] = {}
        for each in self.configurations:
            if each.mean is not None:
                others = tuple(value for name, value in each.values.items() if name != axis)
                by_value.setdefault(each.values[axis], {})[others] = each
        # What has no such param differs in more than this.
        values = [value for value in self.axes[axis] if value is not None]
        there = [(value, by_value[value]) for value in values if value in by_value]
        return [
            Effect(
                axis,
                value,
                fmean(each.mean or 0.0 for each in mine.values()),
                len(mine),
                _against(mine, there[0][1]) if mine is not there[0][1] else None,
            )
            for value, mine in there
        ]

    def by_range(self) -> list[str]:
        """Return the axes, the one between whose values the means differ most first."""

        def reach(axis: str) -> float:
            means = [effect.mean for effect in self.effects(axis)]
            return max(means) - min(means) if len(means) > 1 else 0.0

        return sorted(self.axes, key=reach, reverse=True)


def grid_of(selection: Selection, score: Score) -> Grid:
    """Find axes and configurations among the cells of `selection`."""
    cells = selection.cells
    names = list(dict.fromkeys(name for cell in cells for name in cell.params))
    names = [name for name in names if name != score.seed and name not in BOOKKEEPING]
    found = {name: _values(cells, name) for name in _ordered(names, selection)}
    known = {name: [v for v in values if v is not None] for name, values in found.items()}
    axes = {name: found[name] for name, values in known.items() if len(values) > 1}
    groups = grouped(cells, lambda cell: (cell.study, *cell.key(*axes)))
    if len({study for study, *_ in groups}) > 1 and keys.MODEL not in axes:
        # Studies that no axis tells apart.
        axes = {"study": tuple(dict.fromkeys(cell.study for cell in cells)), **axes}
    return Grid(
        axes=axes,
        fixed={name: values[0] for name, values in known.items() if len(values) == 1},
        seeds=_values(cells, score.seed),
        configurations=tuple(
            Configuration(
                {name: study if name == "study" else group[0].params.get(name) for name in axes},
                group,
                score,
                selection,
            )
            for (study, *_), group in groups.items()
        ),
    )


def in_words(values: Mapping[str, Any]) -> str:
    """Return the values of axes in short: ``small_cnn, width 8, dropout 0.2``."""
    parts = [
        shown(value) if axis in _NAMES else f"{label(axis)} {shown(value)}"
        for axis, value in values.items()
        if value is not None
    ]
    return ", ".join(parts) or "the one configuration"


def label(axis: str) -> str:
    """Return how an axis is called."""
    return axis.replace("_", " ")


def shown(value: Any) -> str:
    """Return a value of an axis as people read it."""
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _against(mine: _ByOthers, first: _ByOthers) -> Comparison | None:
    """Return what configurations have more than those of the first value, matched in all else.

    The configurations are those of the grid and no others; what varies is the seed. So a seed's
    difference is the mean over the configurations, and the test is over seeds. From one seed there
    is no interval.
    """
    by_seed: dict[Any, list[float]] = {}
    for others, each in mine.items():
        if others in first:
            theirs = first[others].by_seed
            for seed, value in each.by_seed.items():
                if seed in theirs:
                    by_seed.setdefault(seed, []).append(value - theirs[seed])
    differences = [fmean(values) for values in by_seed.values()]
    return statistics.paired(differences) if differences else None


def _ordered(names: list[str], selection: Selection) -> list[str]:
    """Return `names`, what says which model of what data first, then in the order of the grids."""
    first = [keys.DATASET, keys.MODEL]
    first += [axis for study in selection.studies for axis in study.grid]
    order = {name: place for place, name in enumerate(dict.fromkeys(first))}
    return sorted(names, key=lambda name: order.get(name, len(order)))


def _values(cells: Sequence[Cell], name: str) -> tuple[Any, ...]:
    """Return the values that cells have of a param, None among them where some have none."""
    found = list(dict.fromkeys(cell.params.get(name) for cell in cells))
    there = [value for value in found if value is not None]
    if there and all(isinstance(value, int | float) for value in there):
        there.sort()
    return tuple(there + [None] * (None in found))
