"""``mnist-ops run``: compute the cells of a study."""

import json
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnist_ops.cli.options import (
    UNSET,
    GroupedCommand,
    answer,
    cells,
    count,
    data_dir_option,
    experiment_option,
    instruction_set_option,
    json_option,
    log,
)
from mnist_ops.cli.terminal import console
from mnist_ops.core import cancellation, instruction_set
from mnist_ops.core.errors import InvalidInput, MnistOpsError
from mnist_ops.study import grids, lookup
from mnist_ops.study.grids import Choices, Study, parse_values
from mnist_ops.study.specs import DEVICES, PRECISIONS

if TYPE_CHECKING:
    from mnist_ops.runner.plan import Plan
    from mnist_ops.runner.study_report import StudyReport


@dataclass(frozen=True)
class Cells:
    """Selection of cells."""

    preset: str
    datasets: str
    seeds: str
    axes: tuple[str, ...]
    train_limit: str
    test_limit: str
    amp: str
    plain: bool
    device: str
    force: bool
    retry_failed: bool

    @property
    def choices(self) -> Choices:
        """Return the user's changes to the preset."""
        return Choices(
            seeds=None if self.seeds == UNSET else parse_values("seeds", self.seeds, 0),
            train_limit=count("--train-limit", self.train_limit, unset=UNSET),
            test_limit=count("--test-limit", self.test_limit, unset=UNSET),
            precision="float32" if self.amp == "off" else self.amp,
            plain=self.plain,
        )

    def studies(self, name: str) -> list[Study]:
        """Return the studies that `name` stands for, with the user's axes.

        Raises:
            InvalidInput: an axis does not exist, is given twice, or takes no such value.
        """
        texts = [part for text in self.axes for part in text.split(";") if part != UNSET]
        asked = [_axis(text) for text in texts] + [("dataset", self.datasets)]
        given = [(axis, text) for axis, text in asked if text != UNSET]
        if len(given) > len(dict(given)):
            raise InvalidInput("an axis is given twice: give its values once, with commas")
        return _with_axes(_studies(name), dict(given))


@dataclass(frozen=True)
class Computing:
    """Computation."""

    workers: str
    streams: int
    scheduler: str
    checkpoint_every: float
    share: bool
    svm_memory: float | None
    instruction_set: str


@dataclass(frozen=True)
class Places:
    """Data and tracking."""

    data_dir: Path | None
    experiment: str | None


@dataclass(frozen=True)
class Output:
    """Output."""

    report: Path | None
    with_champions: bool
    dry_run: bool
    quiet: bool
    yes: bool
    as_json: bool


@click.command(
    cls=GroupedCommand,
    groups={"which": Cells, "computing": Computing, "places": Places, "output": Output},
)
@click.argument("study")
@click.option(
    "--preset",
    default="quick",
    show_default=True,
    help="quick: a few hundred images a cell; paper: as published; rigorous: 5 seeds, all images.",
)
@click.option("--datasets", default=UNSET, help="Data sets with commas.  [default: the grid's]")
@click.option("--seeds", default=UNSET, help="Seeds with commas.  [default: the preset's]")
@click.option(
    "--set",
    "axes",
    multiple=True,
    metavar="AXIS=VALUES",
    help="Replace an axis of the grid, as in --set epochs=2 --set C=1,10. Repeatable; several in "
    "one have a ; between.",
)
@click.option("--train-limit", default=UNSET, help="Training images a cell; 0 takes all.")
@click.option("--test-limit", default=UNSET, help="Test images a cell; 0 takes all.")
@click.option(
    "--amp",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "off", *PRECISIONS[1:]]),
    help="Type that mixed precision computes in; auto is bfloat16 on a CPU, float16 on CUDA.",
)
@click.option("--plain", is_flag=True, help="Train torchvision's networks as they are: slower.")
@click.option(
    "--device",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", *DEVICES]),
    help="auto uses a CUDA device where there is one; device_compare runs both halves.",
)
@click.option("--force", is_flag=True, help="Compute finished cells, too; replaces their runs.")
@click.option("--retry-failed", is_flag=True, help="Compute cells that failed before, too.")
@click.option(
    "--workers",
    default="auto",
    show_default=True,
    help="Local worker processes; auto is one a core, 0 computes in this process.",
)
@click.option(
    "--streams",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Trainings side by side on a CUDA device; above 1 their times are not a cell's own.",
)
@click.option("--scheduler", default="none", help="A Dask scheduler to use, tcp://HOST:PORT.")
@click.option(
    "--checkpoint-every",
    type=click.FloatRange(min=0),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="Training that may be lost when a process is killed.",
)
@click.option(
    "--share/--no-share",
    default=True,
    show_default=True,
    help="Fit cells that one fit serves once; --no-share times each on its own.",
)
@click.option(
    "--svm-memory",
    type=click.FloatRange(min=0, min_open=True),
    help="Gigabytes for support vector machines, all workers together.  [default: 4]",
)
@instruction_set_option("Vector instructions that torch computes with; auto: all that the CPU has.")
@data_dir_option
@experiment_option("MLflow experiment of new runs; inside `mlflow run` its experiment counts.")
@click.option(
    "--report",
    type=click.Path(file_okay=False, path_type=Path),
    help="Then write the report into this folder.",
)
@click.option(
    "--champion",
    "with_champions",
    is_flag=True,
    help="Then register the best models, as `mnist-ops champion` does.",
)
@click.option("--dry-run", is_flag=True, help="Print the cells, and run nothing.")
@click.option("--yes", is_flag=True, help="Run more than 1,000 cells, too.")
@click.option("--quiet", "-q", is_flag=True, help="Print errors only.")
@json_option
def run(study: str, which: Cells, computing: Computing, places: Places, output: Output) -> None:
    """Run the cells of STUDY that are not finished yet, each as an MLflow run.

    STUDY is one of this project (resnet_grid, svm_grid, device_compare; `all` runs the three), of
    an installed package, or your own: FILE.py (its STUDY), FILE.py:NAME or MODULE:NAME.
    """
    studies, choices = which.studies(study), which.choices
    workers = count("--workers", computing.workers, unset="auto")

    if workers == 0:
        # Before anything computes here; worker processes get their own environment.
        instruction_set.apply(computing.instruction_set)
    elif computing.scheduler == "none":
        instruction_set.chosen(computing.instruction_set)

    # torch and mlflow take seconds: after the options are read.
    from mnist_ops.cli.champion import lines, register
    from mnist_ops.cli.progress import GridDisplay
    from mnist_ops.runner import engine
    from mnist_ops.runner.forecast import check_size
    from mnist_ops.runner.plan import plan_locally
    from mnist_ops.runner.settings import Settings

    settings = Settings(
        preset=which.preset,
        choices=choices,
        device=which.device,
        workers=workers,
        streams=computing.streams,
        scheduler=None if computing.scheduler == "none" else computing.scheduler,
        data_dir=places.data_dir,
        force=which.force,
        retry_failed=which.retry_failed,
        checkpoint_s=computing.checkpoint_every,
        share=computing.share,
        svm_memory_gb=computing.svm_memory,
        instruction_set=computing.instruction_set,
        experiment=places.experiment,
    )
    if output.dry_run:
        _print_plans(plan_locally(studies, settings), as_json=output.as_json)
        return
    if not output.yes:
        check_size(plan_locally(studies, settings), settings)
    cancellation.on_signals()
    tell = (lambda line: None) if output.quiet else log
    are_ours = all(study.name in lookup.ours("studies") for study in studies)
    reports = engine.run(studies, settings, GridDisplay(console(quiet=output.quiet)))
    report_lines: list[str] = []
    if output.report is not None:
        from mnist_ops.ops.reports import attach_report, write_report

        labels = {
            a_plan.study.label(which.preset, cell)
            for a_plan in plan_locally(studies, settings)
            for cell in a_plan.cells
        }
        preset = labels.pop() if len(labels) == 1 else None
        report = write_report(
            output.report, preset=preset, studies=() if are_ours else studies, log=tell
        )
        report_lines = report.lines()
        try:
            attach_report(report, reports[0].run_id)
        except MnistOpsError as error:
            log(f"the report is not among the artifacts of run {reports[0].run_id}: {error}")
    if output.with_champions:
        fitted = [cell.dataset for each in studies for cell in each.cells(which.preset, choices)]
        for became in register(list(dict.fromkeys(fitted)), None, places.data_dir):
            for line in lines(became):
                tell(line)
    if output.as_json:
        click.echo(json.dumps([_report_fields(r) for r in reports], indent=2))
    elif not output.quiet:
        tables = "mnist-ops summarize" + ("" if are_ours else f" --study {shlex.quote(study)}")
        report_lines += (
            [f"Compare: `mlflow ui`. Tables: `{tables}`."]
            if output.report is None
            else [f"Report: {(output.report / 'index.html').absolute()}"]
        )
        _print_reports(reports, report_lines)
    if problems := _problems(reports):
        raise MnistOpsError(problems)


def _problems(reports: "Sequence[StudyReport]") -> str:
    """Describe what failed, and what to do about it; empty if nothing did."""
    now = [outcome.spec.name for r in reports for outcome in r.problems]
    before = [cell.name for r in reports for cell in r.failed_before]
    waiting = sum(r.pending for r in reports)
    lines = []
    if now:
        named = ", ".join(now[:5]) + (" and others" if len(now) > 5 else "")
        lines.append(
            f"{len(now)} of the cells failed: {named}; the reason is the tag mnist_ops.error of "
            "each run"
        )
    if before:
        lines.append(f"{cells(len(before))} failed before; --retry-failed tries again")
    if waiting:
        lines.append(f"{waiting} runs are not uploaded yet; `mnist-ops sync` uploads them")
    return "; ".join(lines)


def _studies(name: str) -> list[Study]:
    if name == "all":
        return list(lookup.ours("studies").values())
    return [grids.find(name)]


def _with_axes(studies: Sequence[Study], asked: dict[str, str]) -> list[Study]:
    """Return the studies, each with those of the axes replaced that it has."""
    for axis in asked:
        if not any(axis in study.axes for study in studies):
            # Its message lists the axes there are.
            studies[0].parse_axis(axis, asked[axis])
    return [
        study.with_axes(
            {
                axis: study.parse_axis(axis, text)
                for axis, text in asked.items()
                if axis in study.axes
            }
        )
        for study in studies
    ]


def _axis(text: str) -> tuple[str, str]:
    axis, equals, values = text.partition("=")
    if not equals:
        raise InvalidInput(f"--set takes AXIS=VALUES, got {text!r}")
    return axis.strip(), values.strip()


def _print_plans(plans: "Sequence[Plan]", *, as_json: bool) -> None:
    listed = {cell: "" for a_plan in plans for cell in a_plan.cells}
    listed |= {cell: why for a_plan in plans for cell, why in a_plan.not_measured.items()}
    if as_json:
        for_program = [
            {"name": cell.name, "fingerprint": cell.fingerprint, "not_measured": why or None}
            | asdict(cell)
            for cell, why in listed.items()
        ]
        click.echo(json.dumps(for_program, indent=2))
        return
    for cell, why in listed.items():
        answer(f"{cell.fingerprint}  {cell.study:14}  {cell.name}{why and f'  ({why})'}")
    log(cells(len(listed)))


def _print_reports(reports: "Sequence[StudyReport]", more: Sequence[str]) -> None:
    for report in reports:
        parts = [f"{cells(len(report.finished))} computed"]
        parts += [f"{len(report.skipped)} finished before"] if report.skipped else []
        parts += [f"{len(report.failed)} failed"] if report.failed else []
        parts += [f"{len(report.stopped)} stopped"] if report.stopped else []
        parts += [f"{len(report.failed_before)} failed before"] if report.failed_before else []
        reasons = Counter(report.not_measured.values())
        parts += [f"{cells(count)} {why}" for why, count in reasons.items()]
        answer(f"{report.study}: {', '.join(parts)}")
    for line in more:
        answer(line)


def _report_fields(report: "StudyReport") -> dict[str, Any]:
    def fields(outcome: Any) -> dict[str, Any]:
        rest = {k: v for k, v in vars(outcome).items() if k != "spec"}
        return {"name": outcome.spec.name, "fingerprint": outcome.spec.fingerprint, **rest}

    return {
        "study": report.study,
        "finished": [fields(outcome) for outcome in report.finished],
        "failed": [fields(outcome) for outcome in report.failed],
        "stopped": [fields(outcome) for outcome in report.stopped],
        "failed_before": {spec.name: why for spec, why in report.failed_before.items()},
        "undelivered": report.pending,
        "skipped": [spec.name for spec in report.skipped],
        "not_measured": {spec.name: why for spec, why in report.not_measured.items()},
    }
