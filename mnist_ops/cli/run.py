"""``mnist-ops run``: compute the cells of a study."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mnist_ops.cli.grid_output import print_plans, print_reports, problems, report_fields
from mnist_ops.cli.options import (
    UNSET,
    GroupedCommand,
    count,
    data_dir_option,
    experiment_option,
    instruction_set_option,
    json_option,
    log,
)
from mnist_ops.cli.terminal import console
from mnist_ops.core import cancellation, cuda, instruction_set
from mnist_ops.core.errors import InvalidInput, MnistOpsError
from mnist_ops.study import grids, lookup
from mnist_ops.study.grids import Choices, Study, parse_values
from mnist_ops.study.specs import DEVICES, PRECISIONS

if TYPE_CHECKING:
    from mnist_ops.runner.settings import Settings


_PRESET = "quick"


@dataclass(frozen=True)
class Cells:
    """Selection of cells."""

    preset: str | None
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

    def check_that_claims_choose(self) -> None:
        """Raise `InvalidInput` if an option chooses cells, which claims do."""
        given = {
            "--datasets": self.datasets != UNSET,
            "--seeds": self.seeds != UNSET,
            "--set": any(text != UNSET for text in self.axes),
            "--train-limit": self.train_limit != UNSET,
            "--test-limit": self.test_limit != UNSET,
            "--amp": self.amp != "auto",
            "--plain": self.plain,
            "--device": self.device != "auto",
            "--force": self.force,
        }
        if options := [option for option, is_given in given.items() if is_given]:
            raise InvalidInput(
                f"with --until-decided the claims choose the cells: leave out {', '.join(options)}"
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
class Deciding:
    """Deciding claims."""

    until_decided: bool
    hours: float | None


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
    groups={
        "which": Cells,
        "deciding": Deciding,
        "computing": Computing,
        "places": Places,
        "output": Output,
    },
)
@click.argument("names", nargs=-1, metavar="STUDY")
@click.option(
    "--preset",
    help="quick: a few hundred images a cell; paper: as published; rigorous: 5 seeds, all images.  "
    "[default: quick; with --until-decided the one with the most finished cells]",
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
@click.option(
    "--plain",
    is_flag=True,
    help="Train torchvision's networks and fit scikit-learn's SVC as they are: slower.",
)
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
    "--until-decided",
    is_flag=True,
    help="Run the further seeds that decide claims of the published study. Claims take the place "
    "of STUDY, as in --until-decided 2.8.3; none is all that are undecided.",
)
@click.option(
    "--hours",
    type=click.FloatRange(min=0, min_open=True),
    help="With --until-decided: stop after so many hours.  [default: no limit]",
)
@click.option(
    "--workers",
    default="auto",
    show_default=True,
    help="Local worker processes; auto is one a core, 0 computes in this process.",
)
@click.option(
    "--streams",
    type=click.IntRange(1, cuda.MAX_STREAMS),
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
@click.option("--dry-run", is_flag=True, help="Print the cells or the plan, and run nothing.")
@click.option("--yes", is_flag=True, help="Run more than 1,000 cells, too.")
@click.option("--quiet", "-q", is_flag=True, help="Print errors only.")
@json_option
def run(
    names: tuple[str, ...],
    which: Cells,
    deciding: Deciding,
    computing: Computing,
    places: Places,
    output: Output,
) -> None:
    """Run the cells of STUDY that are not finished yet, each as an MLflow run.

    With --until-decided, claims of the published study take the place of STUDY; --dry-run then
    prints their verdicts and which seeds would decide them.

    STUDY is one of this project (resnet_grid, svm_grid, device_compare; `all` runs the three), of
    an installed package, or your own: FILE.py (its STUDY), FILE.py:NAME or MODULE:NAME.
    """
    if deciding.until_decided:
        from mnist_ops.cli.until_decided import until_decided

        which.check_that_claims_choose()
        if output.report or output.with_champions:
            raise InvalidInput(
                "--report and --champion follow a study: after --until-decided use `mnist-ops "
                "summarize` and `mnist-ops champion`"
            )
        settings = _settings(which.preset or _PRESET, which, computing, places)
        until_decided(names, which.preset, deciding.hours, settings, output)
        return
    if deciding.hours is not None:
        raise InvalidInput("--hours needs --until-decided")
    if len(names) != 1:
        raise click.UsageError("Name one study." if names else "Missing argument 'STUDY'.")
    (study,) = names
    studies, preset = which.studies(study), which.preset or _PRESET

    settings = _settings(preset, which, computing, places)

    # torch and mlflow take seconds: after the options are read.
    from mnist_ops.cli.champion import lines, register
    from mnist_ops.cli.progress import GridDisplay
    from mnist_ops.runner import engine
    from mnist_ops.runner.forecast import check_size
    from mnist_ops.runner.plan import plan_locally

    if output.dry_run:
        print_plans(plan_locally(studies, settings), as_json=output.as_json)
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
            a_plan.study.label(preset, cell)
            for a_plan in plan_locally(studies, settings)
            for cell in a_plan.cells
        }
        label = labels.pop() if len(labels) == 1 else None
        report = write_report(
            output.report, preset=label, studies=() if are_ours else studies, log=tell
        )
        report_lines = report.lines()
        try:
            attach_report(report, reports[0].run_id)
        except MnistOpsError as error:
            log(f"the report is not among the artifacts of run {reports[0].run_id}: {error}")
    if output.with_champions:
        plans = plan_locally(studies, settings)
        fitted = [cell.dataset for each in plans for cell in each.cells]
        for became in register(list(dict.fromkeys(fitted)), None, places.data_dir):
            for line in lines(became):
                tell(line)
    if output.as_json:
        click.echo(json.dumps([report_fields(r) for r in reports], indent=2))
    elif not output.quiet:
        tables = "mnist-ops summarize" + ("" if are_ours else f" --study {shlex.quote(study)}")
        report_lines += (
            [f"Compare: `mlflow ui`. Tables: `{tables}`."]
            if output.report is None
            else [f"Report: {(output.report / 'index.html').absolute()}"]
        )
        print_reports(reports, report_lines)
    if failed := problems(reports):
        raise MnistOpsError(failed)


def _settings(preset: str, which: Cells, computing: Computing, places: Places) -> "Settings":
    workers = count("--workers", computing.workers, unset="auto")
    if workers == 0:
        # Before anything computes here; worker processes get their own environment.
        instruction_set.apply(computing.instruction_set)
    elif computing.scheduler == "none":
        instruction_set.chosen(computing.instruction_set)

    # torch and mlflow take seconds: after the options are read.
    from mnist_ops.runner.settings import Settings

    return Settings(
        preset=preset,
        choices=which.choices,
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
