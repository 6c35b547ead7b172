"""Runs that other programs logged, as a selection: every param may be an axis."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mnist_ops.compare import cells as states
from mnist_ops.compare.cells import Cell
from mnist_ops.compare.runs import (
    END_TIME,
    EXPERIMENT_ID,
    NAME,
    RUN_ID,
    START_TIME,
    STATUS,
    STUDY,
    typed,
)
from mnist_ops.compare.selection import Coverage, NoRuns, Selection
from mnist_ops.core.errors import InvalidInput
from mnist_ops.core.escaping import printable

# The params that are taken for the seed where the user names none.
SEEDS = ("seed", "random_state", "random_seed")
_MAX_TEXT = 60


@dataclass(frozen=True)
class ForeignRun:
    """A run of any program.

    Attributes:
        run_id: of the run.
        experiment_id: of its experiment.
        name: of the run.
        status: as MLflow names it.
        start_time: milliseconds since 1970, UTC.
        end_time: likewise; None while it runs.
        params: as logged.
        metrics: the last value of each.
    """

    run_id: str
    experiment_id: str
    name: str
    status: str
    start_time: int
    end_time: int | None
    params: Mapping[str, str]
    metrics: Mapping[str, float]


def seed_param(runs: Sequence[ForeignRun], asked: str | None) -> str:
    """Return the param that tells repeats apart; empty where there is none.

    Raises:
        InvalidInput: no run has the param that the user asked for.
    """
    there = {name for run in runs for name in run.params}
    if asked is not None and asked not in there:
        known = ", ".join(sorted(there)[:20]) or "none"
        raise InvalidInput(f"no run has a param {asked!r}; their params: {known}")
    return asked or next((name for name in SEEDS if name in there), "")


def selection_of(runs: Sequence[ForeignRun], experiment: str, metric: str) -> Selection:
    """Return a cell for each run; one without the metric is not finished.

    Raises:
        NoRuns: the experiment has no runs.
        InvalidInput: no run has the metric.
    """
    if not runs:
        raise NoRuns(f"experiment {experiment} has no runs")
    there = sorted({name for run in runs for name in run.metrics})
    if metric not in there:
        known = ", ".join(there[:20]) or "none"
        raise InvalidInput(f"no run has a metric {metric!r}; their metrics: {known}")
    found = tuple(_cell(run, experiment, metric) for run in runs)
    statuses = [cell.status for cell in found]
    finished = [run for run, cell in zip(runs, found, strict=True) if cell.finished]
    frame = pd.DataFrame(
        {
            RUN_ID: [run.run_id for run in finished],
            EXPERIMENT_ID: [run.experiment_id for run in finished],
            NAME: [run.name for run in finished],
            STATUS: [run.status for run in finished],
            STUDY: [experiment] * len(finished),
            START_TIME: _times([run.start_time for run in finished]),
            END_TIME: _times([run.end_time for run in finished]),
        }
    )
    coverage = Coverage(
        study=experiment,
        expected=len(found),
        finished=statuses.count(states.FINISHED),
        failed=statuses.count(states.FAILED),
        unfinished=statuses.count(states.UNFINISHED),
        not_measured=0,
        missing=0,
        extra=0,
    )
    return Selection("", found, typed(frame), (coverage,), ())


def _times(milliseconds: Sequence[int | None]) -> list[pd.Timestamp | None]:
    return [
        None if each is None else pd.Timestamp(each, unit="ms", tz="UTC") for each in milliseconds
    ]


def _cell(run: ForeignRun, experiment: str, metric: str) -> Cell:
    status, reason = states.FINISHED, ""
    if run.status == "FAILED":
        status, reason = states.FAILED, "the run failed"
    elif run.status != "FINISHED":
        status, reason = states.UNFINISHED, f"the run is {run.status.lower()}"
    elif not math.isfinite(run.metrics.get(metric, math.nan)):
        status, reason = states.FAILED, f"the run has no metric {metric}"
    return Cell(
        fingerprint=run.run_id,
        name=printable(run.name or run.run_id),
        study=experiment,
        status=status,
        reason=reason,
        expected=True,
        params={printable(name): _value(text) for name, text in run.params.items()},
        metrics={k: v for k, v in run.metrics.items() if math.isfinite(v)} if not reason else {},
        run_id=run.run_id,
    )


def _value(text: str) -> Any:
    """Return a param as a number where it is one, so that values are in their order."""
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        return number if math.isfinite(number) else text
    return printable(text)[:_MAX_TEXT]
