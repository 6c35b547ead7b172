"""The command line: thin, over the library. Imports torch and mlflow only inside commands."""

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mnist_ops import __version__
from mnist_ops.errors import DataUnavailable, InvalidInput, MnistOpsError
from mnist_ops.grids import PRESETS, Choices, Study, parse_values, preset_label
from mnist_ops.specs import DATASETS, DEVICES, PRECISIONS
from pipelines import STUDIES

if TYPE_CHECKING:
    from rich.console import Console

    from mnist_ops.engine import Plan, StudyReport

# What a parameter of the MLproject says where the user leaves it alone.
UNSET = "preset"
FULLEST = "fullest"
FORMATS = ("html", "json", "svg", "png")
INTERRUPTED = 130

F = TypeVar("F", bound=Callable[..., Any])


class _Commands(click.Group):
    """Ends every error that a user can cause in one line and the right exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except MnistOpsError as error:
            click.echo(f"mnist-ops: {error}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo(
                "mnist-ops: interrupted. Finished cells are kept; the same command goes on.",
                err=True,
            )
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            # The reader of our output left, as `head` does; nothing is wrong.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except OSError as error:
            click.echo(f"mnist-ops: {error.strerror or error}: {error.filename or ''}", err=True)
            ctx.exit(1)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mnist-ops")
def main() -> None:
    """Rerun a published MNIST / FashionMNIST study, tracked in MLflow.

    Runs go to MLflow's own default store (mlflow.db and mlruns/ in this folder) unless
    MLFLOW_TRACKING_URI says otherwise.
    """


def _data_dir_option(command: F) -> F:
    return click.option(
        "--data-dir",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="MNIST_OPS_DATA",
        help="Folder of the data sets, in torchvision's layout.  [default: the user cache]",
    )(command)


def _json_option(command: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")(
        command
    )


@main.command()
@click.argument("datasets", nargs=-1, type=click.Choice(DATASETS))
@_data_dir_option
@click.option("--check", is_flag=True, help="Only look; fetch nothing. Exits 1 if not all is well.")
@_json_option
def data(datasets: tuple[str, ...], data_dir: Path | None, check: bool, as_json: bool) -> None:
    """Fetch and verify the data sets, and show state, path, digest and source."""
    from mnist_ops import data as datasets_on_disk

    states, problems = [], []
    for name in datasets or DATASETS:
        try:
            if not check:
                datasets_on_disk.ensure(name, data_dir, say=_say)
        except DataUnavailable as error:
            problems.append(str(error))
        states.append(datasets_on_disk.status(name, data_dir))
    if as_json:
        click.echo(json.dumps([_status_fields(state) for state in states], indent=2))
    else:
        for state in states:
            click.echo(f"{state.name}  {state.folder}")
            click.echo(f"  digest {state.digest}  source: {state.source if state.intact else '-'}")
            for file in state.files:
                click.echo(f"  {file.state:8} {file.md5_found or '-':32}  {file.name}")
    if problems:
        raise DataUnavailable("\n".join(problems))
    if not all(state.intact for state in states):
        raise MnistOpsError("not every file is intact; `mnist-ops data` fetches what is not")


def _status_fields(state: Any) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(json.dumps(asdict(state), default=str))
    return fields | {"intact": state.intact, "digest": state.digest}


@main.command()
@click.argument("study", type=click.Choice(["all", *STUDIES]))
@click.option(
    "--preset",
    default="quick",
    show_default=True,
    type=click.Choice(list(PRESETS)),
    help="quick: a few hundred images a cell; paper: as published; rigorous: 5 seeds, all images.",
)
@click.option("--datasets", default=UNSET, help="Data sets with commas.  [default: the grid's]")
@click.option("--seeds", default=UNSET, help="Seeds with commas.  [default: the preset's]")
@click.option(
    "--set",
    "axes",
    multiple=True,
    metavar="AXIS=VALUES",
    help="Replace an axis of the grid, as in --set epochs=2 --set model=resnet18. Repeatable.",
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
@click.option(
    "--workers",
    default="auto",
    show_default=True,
    help="Local worker processes; auto is one a core, 0 computes in this process.",
)
@click.option("--scheduler", default="none", help="A Dask scheduler to use, tcp://HOST:PORT.")
@_data_dir_option
@click.option("--force/--no-force", help="Compute cells that are finished, too.")
@click.option(
    "--share/--no-share",
    default=True,
    show_default=True,
    help="Train cells that are one trajectory once; --no-share times each on its own.",
)
@click.option(
    "--svm-memory",
    type=click.FloatRange(min=0, min_open=True),
    help="Gigabytes for support vector machines, all workers together.  [default: 4]",
)
@click.option(
    "--experiment",
    default="mnist-ops",
    show_default=True,
    envvar="MLFLOW_EXPERIMENT_NAME",
    help="MLflow experiment of new runs; inside `mlflow run` its experiment counts.",
)
@click.option("--dry-run", is_flag=True, help="Print the cells, and run nothing.")
@click.option(
    "--report",
    type=click.Path(file_okay=False, path_type=Path),
    help="Then write the report into this folder.",
)
@_json_option
def run(
    study: str,
    preset: str,
    datasets: str,
    seeds: str,
    axes: tuple[str, ...],
    train_limit: str,
    test_limit: str,
    amp: str,
    plain: bool,
    device: str,
    workers: str,
    scheduler: str,
    data_dir: Path | None,
    force: bool,
    share: bool,
    svm_memory: float | None,
    experiment: str,
    dry_run: bool,
    report: Path | None,
    as_json: bool,
) -> None:
    """Run the cells of STUDY that are not finished yet, each as an MLflow run."""
    asked = dict(_axis(text) for text in axes) | {"dataset": datasets}
    studies = _with_axes(
        list(STUDIES.values()) if study == "all" else [STUDIES[study]],
        {axis: text for axis, text in asked.items() if text != UNSET},
    )

    # After the options are read: what follows imports torch and mlflow, which takes seconds.
    choices = Choices(
        seeds=None if seeds == UNSET else parse_values("seeds", seeds, 0),
        train_limit=_count("--train-limit", train_limit, unset=UNSET),
        test_limit=_count("--test-limit", test_limit, unset=UNSET),
        precision="float32" if amp == "off" else amp,
        plain=plain,
    )
    worker_count = _count("--workers", workers, unset="auto")

    from mnist_ops import engine
    from mnist_ops.progress import GridDisplay

    settings = engine.Settings(
        preset=preset,
        choices=choices,
        device=device,
        workers=worker_count,
        scheduler=None if scheduler == "none" else scheduler,
        data_dir=data_dir,
        force=force,
        share=share,
        svm_memory_gb=svm_memory,
        experiment=experiment,
    )
    if dry_run:
        _print_plans(engine.plan_locally(studies, settings), as_json=as_json)
        return
    _end_cleanly_on_sigterm()
    reports = engine.run(studies, settings, GridDisplay(_console()))
    if report is not None:
        labels = {
            preset_label(preset, cell)
            for a_plan in engine.plan_locally(studies, settings)
            for cell in a_plan.cells
        }
        from mnist_ops.reports import write_report

        write_report(report, preset=labels.pop() if len(labels) == 1 else None, say=_say)
    if as_json:
        click.echo(json.dumps([_report_fields(r) for r in reports], indent=2))
    else:
        _print_reports(reports, report)
    failed = [outcome.spec.name for r in reports for outcome in r.failed]
    if failed:
        raise MnistOpsError(
            f"{len(failed)} of the cells failed: {', '.join(failed[:5])}"
            + (" and others" if len(failed) > 5 else "")
            + "; the reason is the tag mnist_ops.error of each run"
        )


def _with_axes(studies: Sequence[Study], asked: dict[str, str]) -> list[Study]:
    """The studies with the axes replaced that each of them has."""
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


def _count(option: str, text: str, *, unset: str) -> int | None:
    if text == unset:
        return None
    if not text.isascii() or not text.isdigit():
        raise InvalidInput(f"{option} takes {unset} or a whole number of at least 0, got {text!r}")
    return int(text)


def _print_plans(plans: "Sequence[Plan]", *, as_json: bool) -> None:
    cells = {cell: "" for a_plan in plans for cell in a_plan.cells}
    cells |= {cell: why for a_plan in plans for cell, why in a_plan.not_measured.items()}
    if as_json:
        for_program = [
            {"name": cell.name, "fingerprint": cell.fingerprint, "not_measured": why or None}
            | asdict(cell)
            for cell, why in cells.items()
        ]
        click.echo(json.dumps(for_program, indent=2))
        return
    for cell, why in cells.items():
        click.echo(f"{cell.fingerprint}  {cell.study:14}  {cell.name}{why and f'  ({why})'}")
    click.echo(_cells(len(cells)), err=True)


def _print_reports(reports: "Sequence[StudyReport]", folder: Path | None) -> None:
    for report in reports:
        parts = [f"{_cells(len(report.finished))} computed"]
        parts += [f"{len(report.skipped)} finished before"] if report.skipped else []
        parts += [f"{len(report.failed)} failed"] if report.failed else []
        reasons = Counter(report.not_measured.values())
        parts += [f"{_cells(count)} {why}" for why, count in reasons.items()]
        click.echo(f"{report.study}: {', '.join(parts)}")
    if folder is None:
        click.echo("Compare: `mlflow ui`. Tables: `mnist-ops summarize`.")
    else:
        click.echo(f"Report: {(folder / 'index.html').absolute()}")


def _cells(count: int) -> str:
    return f"{count} {'cell' if count == 1 else 'cells'}"


def _report_fields(report: "StudyReport") -> dict[str, Any]:
    def fields(outcome: Any) -> dict[str, Any]:
        rest = {k: v for k, v in vars(outcome).items() if k != "spec"}
        return {"name": outcome.spec.name, "fingerprint": outcome.spec.fingerprint, **rest}

    return {
        "study": report.study,
        "finished": [fields(outcome) for outcome in report.finished],
        "failed": [fields(outcome) for outcome in report.failed],
        "skipped": [spec.name for spec in report.skipped],
        "not_measured": {spec.name: why for spec, why in report.not_measured.items()},
    }


@main.command()
@click.option(
    "--out",
    default="report",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder of the report.",
)
@click.option(
    "--preset",
    default=FULLEST,
    show_default=True,
    help="Which runs: quick, paper, rigorous, or a custom size; fullest has the most cells.",
)
@click.option("--experiment", help="Only the runs of this MLflow experiment.  [default: all]")
@click.option(
    "--format",
    "formats",
    default=",".join(FORMATS),
    show_default=True,
    help="Formats of the figures, with commas; svg and png need a Chrome or Chromium.",
)
@click.option("--check", is_flag=True, help="Exit with 1 if a finding of the baseline is lost.")
@click.option(
    "--baseline",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A findings.json for --check.  [default: the one recorded with the package]",
)
@click.option("--open", "open_page", is_flag=True, help="Then open the page.")
@_json_option
def summarize(
    out: Path,
    preset: str,
    experiment: str | None,
    formats: str,
    check: bool,
    baseline: Path | None,
    open_page: bool,
    as_json: bool,
) -> None:
    """Rebuild tables, figures and findings from the tracked runs alone."""
    chosen = _formats(formats)

    from mnist_ops.reports import write_report

    report = write_report(
        out,
        preset=None if preset == FULLEST else preset,
        experiment=experiment,
        formats=chosen,
        say=_say,
    )
    if as_json:
        click.echo(json.dumps(report.as_dict(), indent=2))
    else:
        for line in report.lines():
            click.echo(line)
        click.echo(f"Report: {report.page.absolute()}")
    if open_page:
        click.launch(str(report.page))
    if check and (lost := report.lost(baseline)):
        raise MnistOpsError(
            f"supported by the baseline and no longer: {', '.join(f.id for f in lost)}"
        )


def _formats(text: str) -> list[str]:
    formats = [part.strip() for part in text.split(",") if part.strip()]
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise InvalidInput(f"--format takes some of {','.join(FORMATS)}; got {text!r}")
    return formats


def _console() -> "Console":
    from rich.console import Console

    return Console(stderr=True)


def _say(line: str) -> None:
    click.echo(line, err=True)


def _end_cleanly_on_sigterm() -> None:
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
