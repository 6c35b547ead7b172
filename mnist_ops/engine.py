"""Run the cells of studies: skip what is finished, survive what fails, account for every cell."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from mlflow import MlflowClient

from mnist_ops import data, keys, svm, tracking
from mnist_ops.cell import CellContext, Outcome, Progress
from mnist_ops.errors import InvalidInput
from mnist_ops.grids import Choices, Study, preset_label
from mnist_ops.specs import DEVICES, Spec
from mnist_ops.trajectories import trajectories
from mnist_ops.workers import Pool, WorkersUnavailable, open_pool

NO_CUDA = "not measured: no CUDA device"


@dataclass(frozen=True)
class Settings:
    """How studies are run.

    Attributes:
        preset: one of `mnist_ops.grids.PRESETS`.
        choices: what the user changed of the preset.
        device: ``auto``, ``cpu`` or ``cuda``.
        workers: see `open_pool`.
        scheduler: see `open_pool`.
        data_dir: folder of the data sets; None is the default.
        force: compute cells that are finished, too.
        share: cells of one trajectory are trained once.
        svm_memory_gb: see `open_pool`.
        experiment: where runs go, unless ``mlflow run`` has opened one.
    """

    preset: str = "quick"
    choices: Choices = field(default_factory=Choices)
    device: str = "auto"
    workers: int | None = None
    scheduler: str | None = None
    data_dir: Path | None = None
    force: bool = False
    share: bool = True
    svm_memory_gb: float | None = None
    experiment: str = "mnist-ops"


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
    """How a study ended: every cell is in exactly one of the groups."""

    study: str
    finished: tuple[Outcome, ...]
    failed: tuple[Outcome, ...]
    skipped: tuple[Spec, ...]
    not_measured: Mapping[Spec, str]


class Display(Protocol):
    """Shows a grid while it runs."""

    def say(self, line: str) -> None:
        """A fact worth a line."""

    def start(self, title: str, cells: int, skipped: int) -> None:
        """A study begins, of whose `cells` `skipped` are finished already."""

    def progress(self, progress: Progress) -> None:
        """A trajectory got further."""

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
        InvalidInput: a setting has a value that is not allowed.
        DataUnavailable: a data set that the cells need cannot be had.
        TrackingUnavailable: the tracking store cannot be used.
        WorkersUnavailable: there is nothing to compute on.
    """
    for study in studies:
        plan(study, settings, has_cuda=True)
    uri = tracking.default_uri()
    client = tracking.connect(uri)
    with tracking.tracking_errors(uri):
        grids = _Grids(client, uri, settings, display)
        for dataset in _datasets(studies, settings):
            data.ensure(dataset, settings.data_dir, say=display.say)
        with open_pool(settings.workers, settings.scheduler, settings.svm_memory_gb) as pool:
            plans = [plan(study, settings, has_cuda=pool.has_cuda) for study in studies]
            return grids.run(plans, pool)


class _Grids:
    """Runs plans under their parents."""

    def __init__(self, client: MlflowClient, uri: str, settings: Settings, display: Display):
        self.client = client
        self.uri = uri
        self.settings = settings
        self.display = display
        self.opened_by_mlflow = os.environ.get("MLFLOW_RUN_ID")
        self.experiment_id = (
            "" if self.opened_by_mlflow else tracking.experiment(client, settings.experiment)
        )

    def run(self, plans: Sequence[Plan], pool: Pool) -> list[StudyReport]:
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
                reports.append(self._run_grid(a_plan, pool, top, None))
            status = "FAILED" if any(report.failed for report in reports) else "FINISHED"
        finally:
            notes = [_grid_note(p, r) for p, r in zip(plans, reports, strict=False)]
            tracking.close_parent(self.client, top, status, "\n\n".join(notes))
        return reports

    def _run_grid(
        self, a_plan: Plan, pool: Pool, top: tracking.Parent | None, run_id: str | None
    ) -> StudyReport:
        study, settings = a_plan.study, self.settings
        done = {} if settings.force else tracking.finished(self.client, study.name)
        to_do = [cell for cell in a_plan.cells if cell.fingerprint not in done]
        skipped = tuple(cell for cell in a_plan.cells if cell.fingerprint in done)
        tags = {keys.STUDY: study.name, keys.PRESET: settings.preset}
        parent = self._open_parent(
            f"{study.name} ({settings.preset})", study.question, keys.ROLE_GRID, tags, run_id, top
        )
        reasons = {cell.fingerprint: why for cell, why in a_plan.not_measured.items()}
        if reasons:
            tracking.note_not_measured(self.client, parent, reasons)
        presets = {cell.fingerprint: preset_label(settings.preset, cell) for cell in to_do}
        context = CellContext(self.uri, parent, settings.data_dir, presets)
        outcomes: list[Outcome] = []
        status = "KILLED"
        self.display.start(study.title, len(a_plan.cells), len(skipped))
        if line := svm.plain_notice(to_do):
            self.display.say(line)
        try:
            # Closed before the parent is: no worker may open a run under a parent that ended.
            work = trajectories(to_do, share=settings.share)
            with closing(pool.run(work, context, self.display.progress)) as running:
                for outcome in running:
                    outcomes.append(outcome)
                    self.display.outcome(outcome)
            status = "FAILED" if any(outcome.error for outcome in outcomes) else "FINISHED"
        finally:
            self.display.stop()
            report = StudyReport(
                study.name,
                finished=tuple(o for o in outcomes if o.error is None),
                failed=tuple(o for o in outcomes if o.error is not None),
                skipped=skipped,
                not_measured=a_plan.not_measured,
            )
            note = _grid_note(a_plan, report)
            tracking.close_parent(self.client, parent, status, note)
        return report

    def _open_parent(
        self,
        name: str,
        note: str,
        role: str,
        tags: dict[str, str],
        run_id: str | None,
        parent: tracking.Parent | None,
    ) -> tracking.Parent:
        return tracking.open_parent(
            self.client,
            name=name,
            note=note,
            role=role,
            tags=tags,
            experiment_id=parent.experiment_id if parent else self.experiment_id,
            run_id=run_id,
            parent=parent,
        )


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
        f"{len(report.failed)} failed"
    ]
    reasons = Counter(report.not_measured.values())
    lines += [f"- {count} cells {why}" for why, count in reasons.items()]
    lines += [f"- FAILED {o.spec.name}: {o.error}" for o in report.failed]
    return "\n".join(lines)
