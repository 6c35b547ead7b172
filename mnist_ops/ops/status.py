"""Report the progress of grids from the tracking store."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from mlflow import MlflowClient
from mlflow.entities import Run

from mnist_ops import tracking
from mnist_ops.core import keys
from mnist_ops.core.errors import InvalidInput, MnistOpsError
from mnist_ops.runner.eta import Fit, seconds_left
from mnist_ops.runner.fit_groups import FitGroup
from mnist_ops.study.specs import Spec, from_canonical
from mnist_ops.study.validity import is_measurement, shown
from mnist_ops.tracking import LeftOut, claims
from mnist_ops.tracking.deleted import how_to_restore
from mnist_ops.tracking.queries import cells_of, grids_to_watch
from mnist_ops.tracking.reading import epochs_of

State = Literal["running", "died", "finished", "failed", "killed"]
# Of several runs of one cell the first in this order counts, as a killed one may be resumed.
_RANK = ("FINISHED", "RUNNING", "FAILED", "KILLED")


@dataclass(frozen=True)
class RunningFit:
    """A fit that a worker computes.

    Attributes:
        name: of the cell that is fitted.
        others: number of further cells that take their results from it.
        epoch: epochs done.
        epochs: epochs of the fit; 1 for a fit without epochs.
        host: the worker's machine.
        running_s: seconds since the grid started it.
    """

    name: str
    others: int
    epoch: int
    epochs: int
    host: str
    running_s: float


@dataclass(frozen=True)
class GridStatus:
    """Progress of one grid.

    Attributes:
        run_id: of the grid.
        study: its study.
        preset: its preset.
        state: ``died`` if the store has RUNNING but its process has ended.
        host: machine of its main process.
        cells: number of cells.
        before: number of cells that were finished before it started.
        computed: number of cells that it has finished.
        running: number of cells that are being computed.
        failed: number of cells that failed, now or before.
        elapsed_s: seconds since its start, to its end if it has ended.
        left_s: seconds until it is done; None if it is not running, or without an estimate.
        fits: fits that its workers compute.
    """

    run_id: str
    study: str
    preset: str
    state: State
    host: str
    cells: int
    before: int
    computed: int
    running: int
    failed: int
    elapsed_s: float
    left_s: float | None
    fits: tuple[RunningFit, ...]

    @property
    def done(self) -> int:
        """Number of cells that are finished, now or before."""
        return self.before + self.computed

    @property
    def left(self) -> int:
        """Number of cells that were not started, or were interrupted."""
        return max(self.cells - self.done - self.running - self.failed, 0)


def grid_status(
    client: MlflowClient, now: float, left_out: LeftOut = lambda line: None
) -> list[GridStatus]:
    """Return the status of the running grids, or else of the latest.

    Args:
        client: of the store.
        now: seconds since the epoch.
        left_out: gets a line on each invalid run.

    Raises:
        MnistOpsError: the store has no grid.
    """
    grids = grids_to_watch(client, left_out)
    if not grids:
        raise MnistOpsError(
            "no grid in the store: start one with `mnist-ops run all --preset quick`"
            + how_to_restore(client)
        )
    store = claims.find(client, create=False)
    entries = tracking.Claims(client, store).entries() if store else tracking.Entries({}, {})
    return [_status(client, grid, entries, now, left_out) for grid in grids]


def _status(
    client: MlflowClient, grid: Run, entries: tracking.Entries, now: float, left_out: LeftOut
) -> GridStatus:
    owner = _owner(grid)
    is_running = grid.info.status == "RUNNING"
    is_alive = owner is not None and entries.is_alive(owner)
    cells = _one_a_cell(_of_grid(grid, cells_of(client, grid, left_out), left_out))
    live = [run for run in cells if run.info.status == "RUNNING" and _is_alive(run, entries)]
    counts = Counter(run.info.status for run in cells)
    began = grid.info.start_time / 1000
    ended = now if is_running or not grid.info.end_time else grid.info.end_time / 1000
    left: float | None = None
    running: list[RunningFit] = []
    if is_alive:
        fits, running, total = _fits(client, cells, live, began, now)
        if is_running:
            left = seconds_left(_number(grid, keys.COST, total, left_out), fits, now - began)
    counted = _counted(grid, len(cells), left_out)
    return GridStatus(
        run_id=grid.info.run_id,
        study=grid.data.tags.get(keys.STUDY, grid.info.run_name or ""),
        preset=grid.data.tags.get(keys.PRESET, ""),
        state=_state(grid.info.status, is_alive=is_alive),
        host=owner.host if owner else "",
        cells=counted.cells,
        before=counted.before,
        computed=counts["FINISHED"],
        running=len(live) if is_alive else 0,
        failed=counts["FAILED"] + counted.failed_before,
        elapsed_s=max(ended - began, 0.0),
        left_s=left,
        fits=tuple(running),
    )


def _fits(
    client: MlflowClient, cells: Sequence[Run], live: Sequence[Run], began: float, now: float
) -> tuple[list[Fit], list[RunningFit], float]:
    """Return the progress of each fit group, the running fits, and the cost of all groups."""
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in cells:
        groups[run.data.tags.get(keys.FIT_GROUP, run.info.run_id)].append(run)
    alive = {run.info.run_id for run in live}
    fits: list[Fit] = []
    running: list[RunningFit] = []
    for key, group in groups.items():
        specs = {run.info.run_id: spec for run in group if (spec := _spec(run))}
        if not specs:
            continue
        longest = max(specs, key=lambda run_id: specs[run_id].length)
        (run,) = [found for found in group if found.info.run_id == longest]
        spec = specs[longest]
        cost = FitGroup(key, (spec,)).cost
        at_work = any(found.info.run_id in alive for found in group)
        if not at_work and run.info.status == "FAILED":
            fits.append(Fit(cost, 1.0, 1.0))
            continue
        epochs, over, before = spec.length, 0, 0
        if at_work or run.data.tags.get(keys.SEGMENTS, "1") != "1":
            logged = epochs_of(client, longest)
            logged = [(number, at) for number, at in logged if 0 <= number <= epochs]
            over = max((number for number, _ in logged), default=0)
            before = max((number for number, at in logged if at < began), default=0)
        since = max(run.info.start_time / 1000, began)
        done = 1.0 if run.info.status == "FINISHED" else over / epochs
        if at_work:
            fits.append(Fit(cost, done, before / epochs, max(now - since, 0.0)))
            owner = _owner(run)
            running.append(
                RunningFit(
                    run.info.run_name or longest,
                    sum(found.info.run_id in alive for found in group) - 1,
                    over,
                    epochs,
                    owner.host if owner else "",
                    max(now - since, 0.0),
                )
            )
        else:
            fits.append(Fit(cost, done, min(before / epochs, done)))
    return fits, running, sum(fit.cost for fit in fits)


@dataclass(frozen=True)
class _Counts:
    """Numbers of cells of a grid, from its tags."""

    cells: int
    before: int
    failed_before: int


def _counted(grid: Run, begun: int, left_out: LeftOut) -> _Counts:
    """Return the counts of the grid's tags, unless more cells have started than they allow."""
    before, failed_before = (
        round(_number(grid, key, 0, left_out))
        for key in (keys.CELLS_BEFORE, keys.CELLS_FAILED_BEFORE)
    )
    least = before + failed_before + begun
    cells = round(_number(grid, keys.CELLS, least, left_out))
    if cells >= least:
        return _Counts(cells, before, failed_before)
    left_out(
        f"{tracking.named(grid)}: its tags count {cells} cells, {before} of them before it began, "
        f"and {begun} have begun; the tags are left out"
    )
    return _Counts(begun, 0, 0)


def _of_grid(grid: Run, runs: Iterable[Run], left_out: LeftOut) -> Iterator[Run]:
    """Yield the valid runs below a grid that are of a cell of its study."""
    study = grid.data.tags.get(keys.STUDY)
    for run in runs:
        if keys.FINGERPRINT not in run.data.tags:
            continue
        cell = tracking.cell_of(run)
        # Runs of a grid of another version are counted without their specs.
        if isinstance(cell, tracking.Invalid) and not cell.other_version:
            left_out(str(cell))
        elif run.data.tags.get(keys.STUDY) != study:
            left_out(str(tracking.Invalid.of(run, "it is of another study than its grid")))
        else:
            yield run


def _one_a_cell(runs: Iterable[Run]) -> list[Run]:
    best: dict[str, Run] = {}
    for run in runs:
        cell = tracking.fingerprint(run)
        if cell not in best or _rank(run) < _rank(best[cell]):
            best[cell] = run
    return list(best.values())


def _rank(run: Run) -> int:
    return _RANK.index(run.info.status) if run.info.status in _RANK else len(_RANK)


def _state(status: str, *, is_alive: bool) -> State:
    match status:
        case "RUNNING":
            return "running" if is_alive else "died"
        case "FINISHED":
            return "finished"
        case "FAILED":
            return "failed"
    return "killed"


def _is_alive(run: Run, entries: tracking.Entries) -> bool:
    owner = _owner(run)
    return owner is not None and entries.is_alive(owner)


def _owner(run: Run) -> tracking.ProcessId | None:
    return tracking.ProcessId.parse(run.data.tags.get(keys.OWNER, ""))


def _spec(run: Run) -> Spec | None:
    """Return the spec of a run's cell; None if another version wrote it in another form."""
    try:
        return from_canonical(run.data.tags.get(keys.SPEC, ""))
    except InvalidInput:
        return None


def _number(run: Run, key: str, default: float, left_out: LeftOut) -> float:
    text = run.data.tags.get(key)
    if text is None:
        return default
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if is_measurement(number) and number >= 0:
        return number
    left_out(f"{tracking.named(run)}: its tag {key} is {shown(text)}; the tag is left out")
    return default
