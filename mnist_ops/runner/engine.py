"""Run the cells of studies: skip finished ones, isolate failures, account for every cell."""

import dataclasses
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing

from mnist_ops import data, tracking
from mnist_ops.core import cancellation, keys, paths
from mnist_ops.core.errors import InvalidInput
from mnist_ops.fitting import svm
from mnist_ops.runner import own_code
from mnist_ops.runner.final_upload import FINAL_UPLOAD_S, INTERRUPTED_UPLOAD_S, upload_runs
from mnist_ops.runner.fit_groups import grouped
from mnist_ops.runner.other_grids import wait_for_others
from mnist_ops.runner.plan import Plan, plan
from mnist_ops.runner.settings import Display, Settings
from mnist_ops.runner.study_report import StudyReport, grid_note
from mnist_ops.runner.task import CellContext, Outcome
from mnist_ops.runner.workers import Needs, Pool, open_pool
from mnist_ops.study.grids import Study
from mnist_ops.study.method import method_of
from mnist_ops.study.specs import Spec

# Time limit of uploading the runs of ended processes before a grid begins.
_TAKE_OVER_S = 60.0


def run(studies: Sequence[Study], settings: Settings, display: Display) -> list[StudyReport]:
    """Run `studies` one after the other, each under a parent run of its own.

    Several studies together get one more run above their parents. Where ``mlflow run`` has opened
    a run (``MLFLOW_RUN_ID``), that run is the topmost.

    Raises:
        InvalidInput: a setting, or a variable of MLflow's, has a value that is not allowed.
        DataUnavailable: a data set that the cells need cannot be fetched.
        TrackingUnavailable: the tracking store cannot be used.
        WorkersUnavailable: there is nothing to compute on.
        NotWritable: the store, or this machine's state folder, cannot be written.
    """
    own_code.register(studies, settings.workers)
    with_cuda = [plan(study, settings, has_cuda=True) for study in studies]
    own_code.check_models(cell for each in with_cuda for cell in each.cells)
    datasets = list(dict.fromkeys(cell.dataset for each in with_cuda for cell in each.cells))
    if settings.streams > 1 and settings.workers == 0:
        raise InvalidInput(
            "streams are threads of a worker: with 0 workers there are none; ask for 1 or more"
        )
    methods = {method_of(cell) for each in with_cuda for cell in each.cells}
    modules = sorted(method.imports for method in methods if method.imports)
    cancellation.reset()
    uri = tracking.default_uri()
    # Before a run is opened, which an error here would leave open.
    paths.check()
    tracker = tracking.open_tracker(uri, display.log)
    try:
        with tracking.tracking_errors(uri):
            run_id = tracking.opened_for_us(tracker)
            experiment_id = (
                "" if run_id else tracking.experiment(tracker.client, settings.experiment)
            )
            if not settings.scheduler:
                for dataset in datasets:
                    data.ensure(dataset, settings.data_dir, log=display.log)
            with (
                cancellation.cooperative(),
                open_pool(
                    settings.workers,
                    settings.scheduler,
                    Needs.of_this_process(
                        tracker.address,
                        datasets,
                        [s.place for s in studies if s.place],
                        settings.instruction_set,
                    ),
                    settings.svm_memory_gb,
                    display.log,
                    settings.streams,
                    settings.instruction_set,
                    modules,
                ) as pool,
            ):
                plans = [plan(study, settings, has_cuda=pool.has_cuda) for study in studies]
                if settings.streams > 1 and not pool.has_cuda:
                    display.log("streams change nothing: no CUDA device found")
                return _Grids(tracker, pool, settings, display, experiment_id).run(plans, run_id)
    finally:
        tracking.close_tracker(tracker)


class _Grids:
    """Runs plans, each under a parent run of its own."""

    def __init__(
        self,
        tracker: tracking.Tracker,
        pool: Pool,
        settings: Settings,
        display: Display,
        experiment_id: str,
    ):
        self.tracker = tracker
        self.pool = pool
        self.settings = settings
        self.display = display
        self.experiment_id = experiment_id

    def run(self, plans: Sequence[Plan], run_id: str | None) -> list[StudyReport]:
        """Run `plans` below the run `run_id`, or below a new one if that is None."""
        planned = {cell.fingerprint for a_plan in plans for cell in a_plan.cells}
        if pending := tracking.recover_stale_runs(self.tracker, planned, self.display.log):
            self.display.log(f"{pending} runs of earlier processes are being uploaded")
            self.tracker.uploader.flush(_TAKE_OVER_S, retry=True)
        if len(plans) == 1:
            return [self._run_grid(plans[0], None, run_id)]
        top = tracking.open_parent(
            self.tracker,
            name="The study",
            note=" · ".join(a_plan.study.title for a_plan in plans),
            role=keys.ROLE_MAIN,
            tags={},
            experiment_id=self.experiment_id,
            run_id=run_id,
        )
        reports: list[StudyReport] = []
        status = "KILLED"
        try:
            for a_plan in plans:
                reports.append(self._run_grid(a_plan, top.parent, None))
            status = "FINISHED" if all(report.succeeded for report in reports) else "FAILED"
        finally:
            notes = [grid_note(p, r) for p, r in zip(plans, reports, strict=False)]
            top.close(status, "\n\n".join(notes))
            patience = INTERRUPTED_UPLOAD_S if status == "KILLED" else FINAL_UPLOAD_S
            self.tracker.uploader.flush(patience, retry=True)
        return [dataclasses.replace(report, run_id=top.parent.run_id) for report in reports]

    def _run_grid(
        self, a_plan: Plan, top: tracking.Parent | None, run_id: str | None
    ) -> StudyReport:
        report, to_do = self._before(a_plan)
        costs = {group.key: group.cost for group in grouped(to_do, share=self.settings.share)}
        # Before a run is opened, which an error here would leave open.
        changed = own_code.changes(to_do, tracking.specs_of(self.tracker.client, a_plan.study.name))
        parent = self._open_parent(a_plan, report, costs, top, run_id)
        context = self._context(a_plan, to_do, parent.parent)
        outcomes: list[Outcome] = []
        status = "KILLED"
        self.display.start(a_plan.study.title, len(a_plan.cells), len(report.skipped), costs)
        for cell, reason in report.failed_before.items():
            self.display.log(f"failed before, --retry-failed tries again: {cell.name}: {reason}")
        for line in changed:
            self.display.log(line)
        if notice := svm.plain_notice(to_do):
            self.display.log(notice)
        try:
            for outcome in self._compute(to_do, context):
                outcomes.append(outcome)
                self.display.outcome(outcome)
            if cancellation.requested():
                raise KeyboardInterrupt
            report = report.with_outcomes(outcomes)
            status = "FINISHED" if report.succeeded else "FAILED"
        finally:
            self.display.stop()
            report = report.with_outcomes(outcomes)
            parent.close(status, grid_note(a_plan, report))
            pending = upload_runs(
                self.tracker,
                self.pool,
                context,
                report,
                self.display.log,
                interrupted=status == "KILLED",
            )
        return dataclasses.replace(report, pending=pending, run_id=parent.parent.run_id)

    def _before(self, a_plan: Plan) -> tuple[StudyReport, list[Spec]]:
        """Return the report before anything is computed, and the cells to compute."""
        study, settings, client = a_plan.study.name, self.settings, self.tracker.client
        done = {} if settings.force else tracking.finished(client, study)
        failed = {} if settings.force or settings.retry_failed else tracking.failed(client, study)
        skipped = tuple(cell for cell in a_plan.cells if cell.fingerprint in done)
        failed_before = {
            cell: failed[cell.fingerprint]
            for cell in a_plan.cells
            if cell.fingerprint in failed.keys() - done.keys()
        }
        report = StudyReport(
            study,
            skipped=skipped,
            failed_before=failed_before,
            not_measured=a_plan.not_measured,
        )
        to_do = [c for c in a_plan.cells if c.fingerprint not in done and c not in failed_before]
        return report, to_do

    def _open_parent(
        self,
        a_plan: Plan,
        report: StudyReport,
        costs: Mapping[str, float],
        top: tracking.Parent | None,
        run_id: str | None,
    ) -> tracking.ParentRun:
        study, preset = a_plan.study, self.settings.preset
        tags = {
            keys.STUDY: study.name,
            keys.PRESET: preset,
            keys.CELLS: str(len(a_plan.cells)),
            keys.CELLS_BEFORE: str(len(report.skipped)),
            keys.CELLS_FAILED_BEFORE: str(len(report.failed_before)),
            keys.COST: repr(sum(costs.values())),
        }
        if a_plan.not_measured:
            reasons = {cell.fingerprint: why for cell, why in a_plan.not_measured.items()}
            tags[keys.NOT_MEASURED] = json.dumps(reasons, sort_keys=True)
        return tracking.open_parent(
            self.tracker,
            name=f"{study.name} ({preset})",
            note=study.question,
            role=keys.ROLE_GRID,
            tags=tags,
            experiment_id=top.experiment_id if top else self.experiment_id,
            run_id=run_id,
            parent=top,
        )

    def _context(self, a_plan: Plan, to_do: Sequence[Spec], parent: tracking.Parent) -> CellContext:
        study, settings = a_plan.study, self.settings
        return CellContext(
            self.tracker.address,
            parent,
            # Each worker of a cluster has its own.
            None if settings.scheduler else settings.data_dir,
            {cell.fingerprint: study.label(settings.preset, cell) for cell in to_do},
            forced=settings.force,
            checkpoint_s=settings.checkpoint_s,
            streams=1 if study.is_about_time else settings.streams,
            study=study.place,
            tags=dict(settings.tags),
        )

    def _compute(self, cells: Sequence[Spec], context: CellContext) -> Iterator[Outcome]:
        """Yield the outcome of each cell, also of those that another grid computes meanwhile."""
        waiting: list[Spec] = list(cells)
        began, was_logged = round(time.time() * 1000), False
        while waiting and not cancellation.requested():
            groups = grouped(waiting, share=self.settings.share)
            waiting = []
            # Closed before the parent is: no worker may open a run under a parent that ended.
            running = self.pool.run(groups, context, self.display.progress, self.display.log)
            with closing(running):
                for outcome in running:
                    if outcome.state == "claimed elsewhere":
                        waiting.append(outcome.spec)
                    else:
                        yield outcome
            if waiting and not was_logged and not cancellation.requested():
                self.display.log(f"waiting for {len(waiting)} cells that another grid computes")
                was_logged = True
            waiting, outcomes = wait_for_others(self.tracker, waiting, began)
            yield from outcomes
        yield from (Outcome(spec, "stopped") for spec in waiting)
