"""What matters in a study of the user's own: shares of the variance, and the best in pairs."""

from typing import Any

from mnist_ops.compare.best_pairs import best_pairs
from mnist_ops.compare.figures.figure import Figure
from mnist_ops.compare.figures.what_matters import effects_figure, pairs_figure, shares_figure
from mnist_ops.compare.generic.configurations import Configuration, Grid, Score, label, shown
from mnist_ops.compare.seed_noise import SeedNoise
from mnist_ops.compare.selection import Selection
from mnist_ops.compare.what_matters import Factorial, factorial
from mnist_ops.core import keys


def factorials(grid: Grid) -> dict[str, Factorial]:
    """Return the grid of each data set, taken apart; without those that are not whole."""
    found = {}
    for dataset in grid.datasets:
        axes = [axis for axis in grid.axes if axis != keys.DATASET]
        frame = grid.runs(dataset)
        if not axes or frame.empty:
            continue
        overlap = max(
            SeedNoise.of(each.selection).overlap(cell)
            for each in grid.of(dataset)
            for cell in each.cells
        )
        taken = factorial(frame, axes, overlap)
        if taken is not None:
            found[shown(dataset) or "All configurations"] = taken
    return found


def matters_figures(selection: Selection, grid: Grid, score: Score) -> list[Figure]:
    """Return the figures that there are numbers for."""
    found = factorials(grid)
    drawn = [shares_figure(found), effects_figure(found, score.label)] if found else []
    tables = {}
    for dataset in grid.datasets if score.is_accuracy else ():
        groups = {id(each.cells): each for each in _distinct(grid, dataset, found)}
        pairs = best_pairs(selection, [each.cells for each in groups.values()])
        if pairs is not None:
            names = [groups[id(cells)].text((keys.DATASET,)) for cells in pairs.groups]
            tables[shown(dataset)] = pairs, names
    return [*drawn, pairs_figure(tables)] if tables else drawn


def sentence(grid: Factorial) -> str:
    """Return the shares of the axes that matter, of interactions and of the seed."""
    parts = [f"{label(t.axes[0])} {t.share:.0%}" for t in grid.main if t.share >= 0.01]
    parts += [f"several axes together {grid.together:.0%}"] if grid.together >= 0.01 else []
    return ", ".join([*parts, f"the seed {grid.seeds:.0%}{_outlier(grid)}"])


def _outlier(grid: Factorial) -> str:
    if grid.outlier is None or grid.outlier.seeds_without is None:
        return ""
    run = grid.outlier
    settings = [f"{label(axis)}={shown(value)}" for axis, value in run.settings.items()]
    named = ", ".join([*settings, f"seed={shown(run.seed)}"])
    return f" ({run.seeds_without:.0%} without the run {named})"


def _distinct(grid: Grid, dataset: Any, found: dict[str, Factorial]) -> list[Configuration]:
    """Return the configurations without those that differ in an idle axis alone."""
    taken = found.get(shown(dataset) or "All configurations")
    idle = taken.idle if taken is not None else ()
    first = {axis: grid.axes[axis][0] for axis in idle}
    return [
        each
        for each in grid.of(dataset)
        if all(each.values[axis] == value for axis, value in first.items())
    ]
