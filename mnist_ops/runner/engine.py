"""Run the cells of studies: skip finished ones, isolate failures, account for every cell."""

import contextlib
import dataclasses
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from mlflow.entities import Run

from mnist_ops import data, tracking
from mnist_ops.core import cancellation, keys, paths
from mnist_ops.core.errors import InvalidInput
from mnist_ops.fitting import svm
from mnist_ops.fitting.checkpoints import DEFAULT_EVERY_S
from mnist_ops.runner.fit_groups import grouped
from mnist_ops.runner.task import CellContext, Outcome, Progress
from mnist_ops.runner.workers import Needs, Pool, WorkersUnavailable, open_pool
from mnist_ops.study.grids import Choices, Study
from mnist_ops.study.specs import DEVICES, Spec

NO_CUDA = "not measured: no CUDA device"
# Time limits of uploads: of runs of ended processes before a grid begins, and of its own runs at
# its end, where an outage of some minutes is waited for.
TAKE_OVER_S = 60.0
FINAL_UPLOAD_S = 300.0
INTERRUPTED_UPLOAD_S = 10.0
# The uploader pauses longer after each failure; at the end of a grid its pause is reset this often.
UPLOAD_ROUND_S = 8.0
# Interval of looking for cells that another grid computes.
POLL_S = 2.0


@dataclass(frozen=True)
class Settings:
    """How studies are run.

    Attributes:
        preset: one of the presets of each study.
        choices: what the user changed of the preset.
        device: ``auto``, ``cpu`` or ``cuda``.
        workers: see `open_pool`.
        scheduler: see `open_pool`.
        data_dir: folder of the data sets; None is the default.
        force: compute cells that are finished, too; the new runs replace the old.
        retry_failed: compute cells that failed before, too.
        checkpoint_s: seconds of training that may be lost.
        streams: cells that may train side by side on a CUDA device; those of a study that is about
            time never do.
        share: cells of one fit group are fitted once.
        svm_memory_gb: see `open_pool`.
        experiment: where runs go, unless ``mlflow run`` has opened one; None takes the one that
            MLflow's variables name.
    """

    preset: str = "quick"
    choices: Choices = field(default_factory=Choices)
    device: str = "auto"
    workers: int | None = None
    scheduler: str | None = None
    data_dir: Path | None = None
    force: bool = False
    retry_failed: bool = False
    checkpoint_s: float = DEFAULT_EVERY_S
    streams: int = 1
    share: bool = True
    svm_memory_gb: float | None = None
    experiment: str | None = None


@dataclass(frozen=True)
class Plan:
    """The cells of one study, and those of them that nothing here can compute.

    Attributes:
        study: whose cells they are.
        cells: what is to be computed.
        not_measured: cells left out -> the reason.
    """

    study: Study
    cells: tuple[Spec, ...]
    not_measured: Mapping[Spec, str]


@dataclass(frozen=True)
class StudyReport:
    """How a study ended: every cell is in exactly one of the groups.

    Attributes:
        study: its name.
        finished: computed now, here or by another process meanwhile.
        failed: failed now.
        stopped: cut, with what they have saved: the same command goes on.
        skipped: finished before.
        failed_before: not tried again -> the reason noted then.
        not_measured: nothing here can compute them -> the reason.
        pending: runs that the store does not have yet.
    """

    study: str
    finished: tuple[Outcome, ...]
    failed: tuple[Outcome, ...]
    stopped: tuple[Outcome, ...]
    skipped: tuple[Spec, ...]
    failed_before: Mapping[Spec, str]
    not_measured: Mapping[Spec, str]
    pending: int = 0

    @property
    def problems(self) -> list[Outcome]:
        """The cells that did not finish, except those that the user stopped."""
        return [outcome for outcome in (*self.failed, *self.stopped) if outcome.error]

    @property
    def succeeded(self) -> bool:
        """Whether no cell is without a result that something here could have computed."""
        return not self.problems and not self.failed_before


class Display(Protocol):
    """Shows a grid while it runs."""

    def log(self, line: str) -> None:
        """A fact worth a line."""

    def start(self, title: str, cells: int, skipped: int, costs: Mapping[str, float]) -> None:
        """A study begins, of whose `cells` `skipped` are finished already.

        What is left costs as much as `costs` says, by fit group, in units of their own.
        """

    def progress(self, progress: Progress) -> None:
        """A fit group got further."""

    def outcome(self, outcome: Outcome) -> None:
        """A cell ended."""

    def stop(self) -> None:
        """The study is over."""


def plan(study: Study, settings: Settings, *, has_cuda: bool) -> Plan:
    """The cells of `study` under `settings`, on workers with or without a CUDA device.

    Raises:
        InvalidInput: a setting has a value that is not allowed.
        WorkersUnavailable: a CUDA device was asked for by name, and there is none.
    """
    devices = _devices(study, settings.device, has_cuda=has_cuda)
    cells = study.with_axes({"device": devices}).cells(settings.preset, settings.choices)
    left_out = {cell: NO_CUDA for cell in cells if cell.device == "cuda" and not has_cuda}
    return Plan(study, tuple(cell for cell in cells if cell not in left_out), left_out)


def plan_locally(studies: Sequence[Study], settings: Settings) -> list[Plan]:
    """The plans of `studies` on this machine, as `run` without a scheduler would make them."""
    has_cuda = torch.cuda.is_available()
    return [plan(study, settings, has_cuda=has_cuda) for study in studies]


def run(studies: Sequence[Study], settings: Settings, display: Display) -> list[StudyReport]:
    """Run `studies` one after the other, each under a parent run of its own.

    Several studies together get one more run above their parents. Where ``mlflow run`` has opened
    a run (``MLFLOW_RUN_ID``), that run is the topmost.

    Raises:
        InvalidInput: a setting, or a variable of MLflow's, has a value that is not allowed.
        DataUnavailable: a data set that the cells need cannot be had.
        TrackingUnavailable: the tracking store cannot be used.
        WorkersUnavailable: there is nothing to compute on.
        NotWritable: the store, or the folder of this machine's state, cannot be written.
    """
    for study in studies:
        plan(study, settings, has_cuda=True)
    if settings.streams > 1 and settings.workers == 0:
        raise InvalidInput(
            "streams are threads of a worker: with 0 workers there are none; ask for 1 or more"
        )
    cancellation.reset()
    uri = tracking.default_uri()
    # Before there is a run that would be left open.
    paths.check()
    tracker = tracking.open_tracker(uri, display.log)
    try:
        with tracking.tracking_errors(uri):
            run_id = tracking.opened_for_us(tracker)
            experiment_id = (
                "" if run_id else tracking.experiment(tracker.client, settings.experiment)
            )
            datasets = _datasets(studies, settings)
            if not settings.scheduler:
                for dataset in datasets:
                    data.ensure(dataset, settings.data_dir, log=display.log)
            with (
                cancellation.cooperative(),
                open_pool(
                    settings.workers,
                    settings.scheduler,
                    Needs.of_this_process(tracker.address, datasets),
                    settings.svm_memory_gb,
                    display.log,
                    settings.streams,
                ) as pool,
            ):
                plans = [plan(study, settings, has_cuda=pool.has_cuda) for study in studies]
                if settings.streams > 1 and not pool.has_cuda:
                    display.log("streams change nothing: no CUDA device found")
                grids = _Grids(tracker, settings, display, experiment_id, run_id)
                return grids.run(plans, pool)
    finally:
        tracking.close_tracker(tracker)


class _Grids:
    """Runs plans under their parents."""

    def __init__(
        self,
        tracker: tracking.Tracker,
        settings: Settings,
        display: Display,
        experiment_id: str,
        run_id: str | None,
    ):
        """Run grids below the run `run_id`, or where that is None in an experiment."""
        self.tracker = tracker
        self.client = tracker.client
        self.settings = settings
        self.display = display
        self.opened_by_mlflow = run_id
        self.experiment_id = experiment_id

    def run(self, plans: Sequence[Plan], pool: Pool) -> list[StudyReport]:
        planned = {cell.fingerprint for a_plan in plans for cell in a_plan.cells}
        if left := tracking.recover_stale_runs(self.tracker, planned, self.display.log):
            self.display.log(f"{left} runs of earlier processes are uploaded")
            self.tracker.uploader.flush(TAKE_OVER_S, retry=True)
        if len(plans) == 1:
            return [self._run_grid(plans[0], pool, None, self.opened_by_mlflow)]
        titles = [p.study.title for p in plans]
        top = self._open_parent(
            "The study", " · ".join(titles), keys.ROLE_MAIN, {}, self.opened_by_mlflow, None
        )
        reports: list[StudyReport] = []
        status = "KILLED"
        try:
            for a_plan in plans:
                reports.append(self._run_grid(a_plan, pool, top.parent, None))
            status = "FINISHED" if all(report.succeeded for report in reports) else "FAILED"
        finally:
            notes = [_grid_note(p, r) for p, r in zip(plans, reports, strict=False)]
            top.close(status, "\n\n".join(notes))
            patience = INTERRUPTED_UPLOAD_S if status == "KILLED" else FINAL_UPLOAD_S
            self.tracker.uploader.flush(patience, retry=True)
        return reports

    def _run_grid(
        self, a_plan: Plan, pool: Pool, top: tracking.Parent | None, run_id: str | None
    ) -> StudyReport:
        study, settings = a_plan.study, self.settings
        done = {} if settings.force else tracking.finished(self.client, study.name)
        failed = {} if settings.retry_failed else tracking.failed(self.client, study.name)
        failed_before = {
            cell: failed[cell.fingerprint]
            for cell in a_plan.cells
            if cell.fingerprint in failed.keys() - done.keys() and not settings.force
        }
        skipped = tuple(cell for cell in a_plan.cells if cell.fingerprint in done)
        to_do = [c for c in a_plan.cells if c.fingerprint not in done and c not in failed_before]
        reasons = {cell.fingerprint: why for cell, why in a_plan.not_measured.items()}
        costs = {t.key: t.cost for t in grouped(to_do, share=settings.share)}
        tags = {
            keys.STUDY: study.name,
            keys.PRESET: settings.preset,
            keys.CELLS: str(len(a_plan.cells)),
            keys.CELLS_BEFORE: str(len(skipped)),
            keys.CELLS_FAILED_BEFORE: str(len(failed_before)),
            keys.COST: repr(sum(costs.values())),
        }
        if reasons:
            tags[keys.NOT_MEASURED] = json.dumps(reasons, sort_keys=True)
        parent = self._open_parent(
            f"{study.name} ({settings.preset})", study.question, keys.ROLE_GRID, tags, run_id, top
        )
        context = CellContext(
            self.tracker.address,
            parent.parent,
            # Each worker of a cluster has its own.
            None if settings.scheduler else settings.data_dir,
            {cell.fingerprint: study.label(settings.preset, cell) for cell in to_do},
            forced=settings.force,
            checkpoint_s=settings.checkpoint_s,
            streams=1 if study.is_about_time else settings.streams,
        )
        outcomes: list[Outcome] = []
        status = "KILLED"
        self.display.start(study.title, len(a_plan.cells), len(skipped), costs)
        for cell, reason in failed_before.items():
            self.display.log(f"failed before, --retry-failed tries again: {cell.name}: {reason}")
        if line := svm.plain_notice(to_do):
            self.display.log(line)
        try:
            for outcome in self._compute(to_do, context, pool):
                outcomes.append(outcome)
                self.display.outcome(outcome)
            if cancellation.requested():
                raise KeyboardInterrupt
            problems = any(outcome.error for outcome in outcomes) or failed_before
            status = "FAILED" if problems else "FINISHED"
        finally:
            self.display.stop()
            report = StudyReport(
                study.name,
                finished=_in_state(outcomes, "finished"),
                failed=_in_state(outcomes, "failed"),
                stopped=_in_state(outcomes, "stopped"),
                skipped=skipped,
                failed_before=failed_before,
                not_measured=a_plan.not_measured,
            )
            parent.close(status, _grid_note(a_plan, report))
            pending = self._upload(pool, context, report, interrupted=status == "KILLED")
        return dataclasses.replace(report, pending=pending)

    def _compute(
        self, cells: Sequence[Spec], context: CellContext, pool: Pool
    ) -> Iterator[Outcome]:
        """The outcome of each cell, also of those that another grid computes at the same time."""
        waiting: list[Spec] = list(cells)
        began, told = round(time.time() * 1000), False
        while waiting and not cancellation.requested():
            work = grouped(waiting, share=self.settings.share)
            waiting = []
            # Closed before the parent is: no worker may open a run under a parent that ended.
            running = pool.run(work, context, self.display.progress, self.display.log)
            with closing(running):
                for outcome in running:
                    if outcome.state == "claimed elsewhere":
                        waiting.append(outcome.spec)
                    else:
                        yield outcome
            if waiting and not told and not cancellation.requested():
                self.display.log(f"waiting for {len(waiting)} cells that another grid computes")
                told = True
            waiting, others = self._look_after(waiting, began)
            while waiting and not others and not self._free(waiting):
                if cancellation.requested():
                    break
                time.sleep(POLL_S)
                waiting, others = self._look_after(waiting, began)
            yield from others
        yield from (Outcome(spec, "stopped") for spec in waiting)

    def _look_after(self, cells: Sequence[Spec], since: int) -> tuple[list[Spec], list[Outcome]]:
        """Of cells that others compute: those that are not over, and the outcomes of the others."""
        try:
            ended = tracking.ended_of(self.client, (cell.fingerprint for cell in cells), since)
        except tracking.STORE_ERRORS:
            # It answers again, or the user stops the grid.
            return list(cells), []
        left = [cell for cell in cells if cell.fingerprint not in ended]
        return left, [
            _outcome_elsewhere(cell, ended[cell.fingerprint])
            for cell in cells
            if cell.fingerprint in ended
        ]

    def _free(self, cells: Sequence[Spec]) -> bool:
        """Whether nobody computes some of the cells any more."""
        try:
            entries = self.tracker.claims.entries()
        except tracking.STORE_ERRORS:
            return False
        return any(entries.holder(cell.fingerprint) is None for cell in cells)

    def _upload(
        self, pool: Pool, context: CellContext, report: StudyReport, *, interrupted: bool
    ) -> int:
        """Upload the runs of the grid; report where pending ones are and return their number."""
        patience = INTERRUPTED_UPLOAD_S if interrupted else FINAL_UPLOAD_S
        deadline = time.monotonic() + patience
        told = interrupted
        while pending := self._upload_once(pool, context, report):
            runs = f"{pending.total()} runs are not yet in the store ({'; '.join(pending)})"
            left_s = deadline - time.monotonic()
            if left_s <= 0 or (cancellation.requested() and not interrupted):
                self.display.log(
                    f"{runs}, but in {self.tracker.journals} of the machines that computed them: "
                    "`mnist-ops sync` uploads them from there, and so does the next start"
                )
                break
            if not told:
                self.display.log(f"{runs}: trying for {left_s:.0f} s more; Ctrl-C ends that")
                told = True
            time.sleep(POLL_S)
        return pending.total()

    def _upload_once(self, pool: Pool, context: CellContext, report: StudyReport) -> Counter[str]:
        """Return why runs do not reach the store -> how many do not."""
        pending = pool.flush(context, UPLOAD_ROUND_S)
        with contextlib.suppress(*tracking.STORE_ERRORS):
            tracking.recover_stale_runs(self.tracker)
        self.tracker.uploader.flush(UPLOAD_ROUND_S, retry=True)
        pending += self.tracker.uploader.pending
        if not pending:
            # Runs of a worker that is lost or does not respond are not counted yet.
            with contextlib.suppress(*tracking.STORE_ERRORS):
                cells = {outcome.spec.fingerprint for outcome in report.finished}
                stored = tracking.finished(self.client, report.study)
                if absent := len(cells - stored.keys()):
                    pending["the workers that have them do not answer"] = absent
        return pending

    def _open_parent(
        self,
        name: str,
        note: str,
        role: str,
        tags: dict[str, str],
        run_id: str | None,
        parent: tracking.Parent | None,
    ) -> tracking.ParentRun:
        return tracking.open_parent(
            self.tracker,
            name=name,
            note=note,
            role=role,
            tags=tags,
            experiment_id=parent.experiment_id if parent else self.experiment_id,
            run_id=run_id,
            parent=parent,
        )


def _outcome_elsewhere(cell: Spec, run: Run) -> Outcome:
    """The outcome of a cell that another grid has computed."""
    if run.info.status == "FAILED":
        reason = run.data.tags.get(keys.ERROR, "no reason was noted")
        return Outcome(cell, "failed", run.info.run_id, error=reason)
    return Outcome(
        cell,
        "finished",
        run.info.run_id,
        test_accuracy=run.data.metrics.get(keys.TEST_ACCURACY),
        train_time_s=run.data.metrics.get(keys.TRAIN_TIME_S),
    )


def _in_state(outcomes: Sequence[Outcome], state: str) -> tuple[Outcome, ...]:
    return tuple(outcome for outcome in outcomes if outcome.state == state)


def _devices(study: Study, asked: str, *, has_cuda: bool) -> tuple[Any, ...]:
    of_grid = study.grid["device"]
    if asked not in ("auto", *DEVICES):
        raise InvalidInput(f"device must be one of auto, {', '.join(DEVICES)}; got {asked!r}")
    if asked == "cuda" and "cuda" not in of_grid and "auto" not in of_grid:
        return of_grid
    if asked == "cuda" and not has_cuda:
        raise WorkersUnavailable("device cuda: no CUDA device found; use --device cpu or auto")
    if asked != "auto":
        return (asked,)
    if "auto" in of_grid:
        return ("cuda" if has_cuda else "cpu",)
    return of_grid


def _datasets(studies: Sequence[Study], settings: Settings) -> list[str]:
    plans = [plan(study, settings, has_cuda=True) for study in studies]
    return list(dict.fromkeys(cell.dataset for a_plan in plans for cell in a_plan.cells))


def _grid_note(a_plan: Plan, report: StudyReport) -> str:
    lines = [f"**{a_plan.study.title}**: {a_plan.study.question}", ""]
    lines += [
        f"- {len(report.finished)} cells computed, {len(report.skipped)} finished before, "
        f"{len(report.failed)} failed, {len(report.stopped)} stopped, "
        f"{len(report.failed_before)} failed before"
    ]
    reasons = Counter(report.not_measured.values())
    lines += [f"- {count} cells {why}" for why, count in reasons.items()]
    lines += [f"- FAILED {o.spec.name}: {o.error}" for o in report.failed]
    lines += [f"- FAILED before {cell.name}: {why}" for cell, why in report.failed_before.items()]
    return "\n".join(lines)
