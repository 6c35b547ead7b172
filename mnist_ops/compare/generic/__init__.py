"""The report of any study: its `Paper`, with what was published if the study says so."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from mnist_ops.compare.findings.evidence import Evidence, Size
from mnist_ops.compare.generic import tables
from mnist_ops.compare.generic.configurations import Grid, Score, grid_of, label, shown
from mnist_ops.compare.generic.foreign import ForeignRun, seed_param, selection_of
from mnist_ops.compare.generic.published import publication_of, with_publication
from mnist_ops.compare.headlines import Headline, with_interval
from mnist_ops.compare.paper import BuiltTable, Paper
from mnist_ops.compare.published import Number, Published
from mnist_ops.compare.results import Results, Source
from mnist_ops.compare.selection import Selection
from mnist_ops.compare.tables.place import Place
from mnist_ops.compare.tables.table import Table
from mnist_ops.core import keys
from mnist_ops.study.grids import Study

if TYPE_CHECKING:
    from mnist_ops.compare.figures.figure import Figure

__all__ = ["ForeignRun", "Score", "paper_of", "seed_param", "selection_of"]

_LAYOUT = {
    "Setting": (tables.SETTING,),
    "Best configurations": (tables.BEST,),
    "What matters": (
        "variance-shares",
        "main-effects",
        tables.EFFECTS,
        "heat-map",
        "best-configurations",
        "parallel-coordinates",
    ),
    "All configurations": (
        tables.CONFIGURATIONS,
        "accuracy-against-time",
        "accuracy-against-flops",
        "learning-curves",
    ),
}
_ACCURACY = Score()


def paper_of(
    studies: Sequence[Study],
    title: str = "",
    datasets: Sequence[str] = (),
    score: Score = _ACCURACY,
) -> Paper:
    """Return the `Paper` of studies, with what was published if one of them has it.

    Args:
        studies: whose cells are expected.
        title: of the page; by default the titles of the studies.
        datasets: names of the data sets, each of which gets a confusion matrix.
        score: what the report is about.

    Raises:
        InvalidInput: what was published cannot be read, or is not of the study.
    """
    title = title or " · ".join(study.title or study.name for study in studies)
    questions = [study.question for study in studies if study.question]
    of_best = tuple(f"confusion-{name.lower()}" for name in datasets)
    layout = {k: (*v, *of_best) if k == "Best configurations" else v for k, v in _LAYOUT.items()}
    paper = Paper(
        name="study",
        title=title,
        subject=title,
        studies=tuple(studies),
        preset=next((name for study in studies for name in study.presets), ""),
        sizes={
            name: Size(f"{name}: {study.title}", "") for study in studies for name in study.presets
        },
        published=Published(()),
        tables=(
            _table(tables.SETTING, tables.setting, score, with_selection=True),
            _table(tables.BEST, tables.best, score),
            _table(tables.EFFECTS, tables.effects, score),
            _table(tables.CONFIGURATIONS, tables.configurations, score),
        ),
        claims=(),
        headlines=partial(_headlines, score=score),
        figures=partial(_figures, score=score),
        extra_analyses=lambda selection, at: [],
        layout=layout,
        best=lambda results: (),
        question=" ".join(questions),
    )
    publication = publication_of(studies)
    return paper if publication is None else with_publication(paper, *publication)


def _table(
    number: int, make: Callable[..., Table], score: Score, *, with_selection: bool = False
) -> BuiltTable:
    def build(selection: Selection, published: Published) -> Table:
        grid = grid_of(selection, score)
        return make(selection, grid) if with_selection else make(grid, score)

    def nowhere(number: Number) -> Place:
        raise AssertionError("nothing is published")

    return BuiltTable(number, build, nowhere)


def _figures(results: Results, source: Source, *, score: Score) -> "list[Figure]":
    from mnist_ops.compare.generic.figures import figures
    from mnist_ops.compare.generic.matters import matters_figures

    grid = grid_of(results.selection, score)
    matters = matters_figures(results.selection, grid, score)
    drawn = {figure.stem for figure in matters}
    others = figures(grid, score, source)
    return [*matters, *(figure for figure in others if figure.stem not in drawn)]


def _headlines(evidence: Evidence, *, score: Score) -> list[Headline]:
    grid = grid_of(evidence.selection, score)
    return [*_best(grid, score), *_shares(grid), *_most(grid, score)]


def _best(grid: Grid, score: Score) -> list[Headline]:
    found = []
    for dataset in grid.datasets:
        best = grid.best(dataset)
        if best is None or best.mean is None:
            continue
        runs = f"{len(best.results)} seed{'' if len(best.results) == 1 else 's'}"
        by = "validation" if score.chosen_by != score.metric else "the same metric"
        result = with_interval(best.mean, best.interval, score.unit, decimals=_decimals(score))
        found.append(
            Headline(
                f"Best on {dataset}" if dataset else "Best",
                f"{best.text((keys.DATASET,))}: "
                f"{result}, {runs}; chosen by {by} among {len(grid.of(dataset)):,}",
            )
        )
    return found


def _shares(grid: Grid) -> list[Headline]:
    # statsmodels takes a second to import, and figures plotly.
    from mnist_ops.compare.generic.matters import factorials, sentence

    return [
        Headline(f"Shares of the variance, {name}", sentence(found))
        for name, found in factorials(grid).items()
    ]


def _most(grid: Grid, score: Score) -> list[Headline]:
    """Return the axis with the largest range: the value furthest from the first, against that."""
    for axis in grid.by_range():
        against = [(each.value, each.against_first) for each in grid.effects(axis)]
        compared = [(value, found) for value, found in against if found is not None]
        if not compared:
            continue
        value, comparison = max(compared, key=lambda pair: abs(pair[1].effect))
        unit = " points" if score.is_accuracy else ""
        number = with_interval(comparison.effect, comparison.interval, unit, "+", _decimals(score))
        first = shown(against[0][0])
        return [
            Headline(
                f"Matters most: {label(axis)}",
                f"{shown(value)} against {first}: {number}, in configurations that differ in "
                f"nothing else, {comparison.n} seed{'' if comparison.n == 1 else 's'}",
            )
        ]
    return []


def _decimals(score: Score) -> int:
    return 2 if score.is_accuracy else 4
