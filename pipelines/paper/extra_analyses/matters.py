"""Extra analysis: what matters in the study's grids, and which of the best differ."""

import dataclasses
from collections.abc import Mapping

from mnist_ops.compare.best_pairs import BestPairs, best_pairs
from mnist_ops.compare.extra_analyses import Topic
from mnist_ops.compare.figures.what_matters import (
    effects_figure,
    pairs_figure,
    shares,
    shares_figure,
)
from mnist_ops.compare.generic import Score
from mnist_ops.compare.generic.configurations import grid_of, shown
from mnist_ops.compare.headlines import with_interval
from mnist_ops.compare.render import p_text
from mnist_ops.compare.seed_noise import SeedNoise
from mnist_ops.compare.selection import Selection
from mnist_ops.compare.tables.champion import by_configuration
from mnist_ops.compare.tables.labels import configuration, model_label
from mnist_ops.compare.what_matters import Factorial, factorial
from mnist_ops.core import keys

from ..studies import DATASETS, RESNET_GRID, SVM_GRID

_GRIDS = {RESNET_GRID: "Networks", SVM_GRID: "SVMs"}
_WORDS = {"Networks": "networks", "SVMs": "support vector machines"}
_SCORE = Score()


def matters_topics(selection: Selection) -> list[Topic]:
    """Return the topics for which there are runs: shares, effects, and the best in pairs."""
    grids = _grids(selection)
    topics = [_shares(grids), _effects(grids)] if grids else []
    tables = {name: found for name in DATASETS if (found := _pairs(selection, name))}
    return [*topics, *([_best(tables)] if tables else [])]


def _grids(selection: Selection) -> dict[str, Factorial]:
    grids = {}
    for study, what in _GRIDS.items():
        for dataset in DATASETS:
            cells = tuple(
                cell
                for cell in selection.of(study)
                if cell.finished and not cell.variant and cell.params.get(keys.DATASET) == dataset
            )
            grid = grid_of(dataclasses.replace(selection, cells=cells), _SCORE)
            overlap = max(map(SeedNoise.of(selection).overlap, cells), default=0.0)
            found = factorial(grid.runs(), list(grid.axes), overlap)
            if found is not None:
                grids[f"{what} on {dataset}"] = found
    return grids


def _shares(grids: Mapping[str, Factorial]) -> Topic:
    sentences = [_answer(name, grid) for name, grid in grids.items()]
    idle = {axis for grid in grids.values() for axis in grid.idle}
    same = f" {', '.join(sorted(idle))} changes no score and is left out." if idle else ""
    rows = []
    for name, grid in grids.items():
        for source, share in shares(grid).items():
            p_value = next(
                (t.p_value for t in grid.main if t.axes[0].replace("_", " ") == source), None
            )
            rows.append((name, source, f"{100 * share:.1f}%", p_text(p_value)))
        rows += [
            (name, " with ".join(axis.replace("_", " ") for axis in term.axes), percent, p_text(p))
            for term in grid.pairs
            if (p := term.p_value) is not None and p < 0.05 and term.share >= 0.01
            for percent in (f"{100 * term.share:.1f}% (of two together)",)
        ]
    return Topic(
        title="What matters",
        paragraphs=(
            " ".join(sentences) + same,
            "The grids are factorial: every value of a setting is combined with every value of the "
            "others. So the variance of the accuracy of a run, of a random configuration with a "
            "random seed, can be divided: by an analysis of variance on the means of the "
            "configurations, without what seeds add (omega squared, sums of squares of type II).",
        ),
        head=("Grid", "Source", "Share of the variance", "p"),
        rows=tuple(rows),
        align="llrr",
        figure=shares_figure(grids),
    )


def _answer(name: str, grid: Factorial) -> str:
    what, _, dataset = name.partition(" on ")
    first, *others = [term for term in grid.main if term.share >= 0.01] or grid.main[:1]
    text = (
        f"On {dataset} the {first.axes[0].replace('_', ' ')} explains {first.share:.0%} of the "
        f"variance of the accuracy of {_WORDS[what]}"
    )
    if others:
        text += ", " + ", ".join(f"{t.axes[0].replace('_', ' ')} {t.share:.0%}" for t in others)
    text += f"; several settings together {grid.together:.0%}, the seed {grid.seeds:.0%}."
    if grid.outlier is None:
        return text
    run = grid.outlier
    text += (
        f" Most of the seed's share is one run: {_name(run.settings)}, seed {run.seed}, with "
        f"{run.score:.2f}% where its other seeds have {run.others:.2f}%"
    )
    if run.seeds_without is None:
        return f"{text}."
    return f"{text}; without it the seed explains {run.seeds_without:.0%}."


def _effects(grids: Mapping[str, Factorial]) -> Topic:
    rows = [
        (
            name,
            level.axis.replace("_", " "),
            shown(level.value),
            f"{level.mean:.2f} ({level.interval[0]:.2f} to {level.interval[1]:.2f})"
            if level.interval
            else f"{level.mean:.2f}",
            str(level.n),
        )
        for name, grid in grids.items()
        for term in grid.main
        for level in grid.levels
        if level.axis == term.axes[0]
    ]
    return Topic(
        title="What each setting does",
        paragraphs=(
            "The mean test accuracy at each value of each setting, over all configurations with "
            "it. Intervals are for the seeds: with other configurations the means would be others.",
        ),
        head=("Grid", "Setting", "Value", "Mean accuracy (95%)", "Configurations"),
        rows=tuple(rows),
        align="lllrr",
        figure=effects_figure(grids, _SCORE.label),
    )


def _pairs(selection: Selection, dataset: str) -> tuple[BestPairs, list[str]] | None:
    cells = [
        cell
        for study in _GRIDS
        for cell in selection.of(study)
        if cell.finished
        and not cell.variant
        and cell.params.get(keys.DATASET) == dataset
        # On a CPU, cells with and without pinned memory are one training.
        and not cell.params.get(keys.PIN_MEMORY)
    ]
    found = best_pairs(selection, by_configuration(cells))
    if found is None:
        return None
    return found, [_name(group[0].params) for group in found.groups]


def _name(params: Mapping[str, object]) -> str:
    named = {name: value for name, value in params.items() if name != keys.PIN_MEMORY}
    return f"{model_label(str(params.get(keys.MODEL)))}, {configuration(named)}"


def _best(tables: Mapping[str, tuple[BestPairs, list[str]]]) -> Topic:
    rows = []
    for dataset, (pairs, names) in tables.items():
        for (first, second), compared in pairs.compared.items():
            rows.append(
                (
                    dataset,
                    names[first],
                    names[second],
                    with_interval(compared.effect, compared.interval, "", "+"),
                    p_text(compared.p_value),
                )
            )
    counted = ", ".join(
        f"{pairs.apart} of {len(pairs.compared)} pairs on {dataset}"
        for dataset, (pairs, _) in tables.items()
    )
    return Topic(
        title="The best configurations against each other",
        paragraphs=(
            f"Of the configurations that are best by validation, {counted} differ significantly "
            "on the test images, with all seeds of both and adjusted for the number of pairs "
            "(Holm).",
        ),
        head=("Data set", "Configuration", "Less", "Points (95%)", "p, adjusted"),
        rows=tuple(rows),
        align="lllrr",
        figure=pairs_figure(tables),
    )
