"""A study from Python, in a script or a notebook.

    from mnist_ops import api

    found = api.run(STUDY, preset="quick")
    found.frame.groupby("width")["test_accuracy"].mean()
    api.plot_effects(STUDY).show()
    api.report(STUDY, "report")

A script needs no ``__main__`` guard: worker processes import it up to its first `run`.
"""

import dataclasses
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from mnist_ops import tracking
from mnist_ops.compare import generic
from mnist_ops.compare.generic.configurations import Grid, grid_of
from mnist_ops.compare.runs import typed
from mnist_ops.compare.selection import Selection, select
from mnist_ops.core.errors import InvalidInput
from mnist_ops.ops.reports import write_report
from mnist_ops.runner import engine
from mnist_ops.runner.settings import Settings
from mnist_ops.runner.study_report import StudyReport
from mnist_ops.study import lookup
from mnist_ops.study.grids import Choices, Study

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_SCORE = generic.Score()


@dataclass(frozen=True)
class Results:
    """The end of a study.

    Attributes:
        study: the study.
        preset: at which it ran.
        outcome: every cell, in exactly one of its groups.
        frame: as of `results`.
    """

    study: Study
    preset: str
    outcome: StudyReport
    frame: pd.DataFrame


def run(
    study: Study,
    preset: str = "quick",
    *,
    seeds: tuple[int, ...] | None = None,
    workers: int | None = None,
    device: str = "auto",
    log: Callable[[str], None] = print,
) -> Results:
    """Run the cells of `study` that are not finished yet, as ``mnist-ops run`` does.

    Args:
        study: what to run.
        preset: one of its presets.
        seeds: replaces the preset's.
        workers: processes; None is one a core, or this one for what a notebook defines; 0 is this
            process.
        device: ``auto``, ``cpu`` or ``cuda``.
        log: gets a line on each cell.

    Raises:
        MnistOpsError: as the command; the message says what to do.
    """
    lookup.stop_import()
    study = _placed(study)
    if study.has_own and not study.place and workers is None:
        workers = 0
    settings = Settings(preset=preset, choices=Choices(seeds=seeds), device=device, workers=workers)
    (outcome,) = engine.run([study], settings, _Lines(log))
    return Results(study, preset, outcome, results(study, preset))


def results(study: Study, preset: str | None = None) -> pd.DataFrame:
    """Return a row for each run of `study` that counts, with typed columns.

    Columns are ``name``, ``status``, ``run_id``, the params and the metrics, under the names that
    runs have.

    Args:
        study: whose runs.
        preset: their size; None takes the one with the most finished cells.

    Raises:
        NoRuns: there are none.
    """
    rows = [
        {"name": cell.name, "status": cell.status, "run_id": cell.run_id}
        | dict(cell.params)
        | dict(cell.metrics)
        for cell in _selected(study, preset).cells
        if cell.run_id is not None
    ]
    return pd.DataFrame(rows)


def report(study: Study, out: str | Path = "report") -> Path:
    """Write the report on `study` into the folder `out`; return the path of its page."""
    study.register()
    return write_report(Path(out), studies=[study]).page


def plot_effects(study: Study, preset: str | None = None) -> "Figure":
    """Return a figure of the mean at each value of each axis."""
    return _drawn("main_effects", study, preset)


def plot_heat_map(study: Study, preset: str | None = None) -> "Figure":
    """Return a figure of the mean over the two axes that matter most."""
    return _drawn("heat_map", study, preset)


def plot_parallel_coordinates(study: Study, preset: str | None = None) -> "Figure":
    """Return a figure of every configuration, a line through its values."""
    return _drawn("parallel_coordinates", study, preset)


def plot_against_time(study: Study, preset: str | None = None) -> "Figure":
    """Return a figure of the accuracy over the training time."""
    return _drawn("against_cost", study, preset, "accuracy-against-time")


def _drawn(name: str, study: Study, preset: str | None, *more: str) -> "Figure":
    from mnist_ops.compare.generic import figures

    grid: Grid = grid_of(_selected(study, preset), _SCORE)
    figure = getattr(figures, name)(grid, _SCORE, *more)
    if figure is None:
        raise InvalidInput(f"study {study.name} has too few axes or results for this figure")
    return figure.drawing


def _selected(study: Study, preset: str | None) -> Selection:
    study.register()
    uri = tracking.default_uri()
    client = tracking.connect(uri, create=False)
    paper = generic.paper_of([study])
    with tracking.tracking_errors(uri):
        runs = tracking.cell_runs(client)
        runs = runs if runs.empty else runs[runs["study"] == study.name]
        left = tracking.not_measured(client)
    return select(typed(runs), paper.cells, left, preset, studies=paper.studies)


def _placed(study: Study) -> Study:
    """Return the study with the place at which workers find it, if it is in a script."""
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    names = [name for name, value in inspect.getmembers(main) if value is study]
    if study.place or not file or not names or not study.has_own:
        return study
    return dataclasses.replace(study, place=f"{Path(file).absolute()}:{names[0]}")


class _Lines:
    """A display of lines alone."""

    def __init__(self, log: Callable[[str], None]):
        self.log = log

    def start(self, title: str, cells: int, skipped: int, costs: Any) -> None:
        """Log how many cells there are."""
        self.log(f"{title}: {cells} cells" + (f", {skipped} finished before" if skipped else ""))

    def progress(self, progress: Any) -> None:
        """Log nothing: a line a cell is enough."""

    def outcome(self, outcome: Any) -> None:
        """Log how a cell ended."""
        accuracy = outcome.test_accuracy
        ended = outcome.error or outcome.state
        self.log(f"{outcome.spec.name}: {ended if accuracy is None else f'{accuracy:.2%}'}")

    def stop(self) -> None:
        """Log nothing."""
