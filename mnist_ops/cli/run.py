"""``mnist-ops run``: compute the cells of a study."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnist_ops.cli.options import (
    UNSET,
    answer,
    cells,
    console,
    count,
    data_dir_option,
    experiment_option,
    json_option,
    say,
)
from mnist_ops.core import cancellation
from mnist_ops.core.errors import InvalidInput, MnistOpsError
from mnist_ops.study import lookup
from mnist_ops.study.grids import Choices, Study, parse_values
from mnist_ops.study.specs import DATASETS, DEVICES, PRECISIONS

if TYPE_CHECKING:
    from mnist_ops.runner.engine import Plan, StudyReport


@click.command()
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
@click.option(
    "--streams",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Trainings side by side on a CUDA device; above 1 their times are not a cell's own.",
)
@click.option("--scheduler", default="none", help="A Dask scheduler to use, tcp://HOST:PORT.")
@data_dir_option
@click.option("--force", is_flag=True, help="Compute finished cells, too; replaces their runs.")
@click.option("--retry-failed", is_flag=True, help="Compute cells that failed before, too.")
@click.option(
    "--checkpoint-every",
    type=click.FloatRange(min=0),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="Training that may be lost when a process dies.",
)
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
@experiment_option("MLflow experiment of new runs; inside `mlflow run` its experiment counts.")
@click.option("--quiet", "-q", is_flag=True, help="Say nothing but what went wrong.")
@click.option("--dry-run", is_flag=True, help="Print the cells, and run nothing.")
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
@json_option
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
    streams: int,
    scheduler: str,
    data_dir: Path | None,
    force: bool,
    retry_failed: bool,
    checkpoint_every: float,
    share: bool,
    svm_memory: float | None,
    experiment: str | None,
    quiet: bool,
    dry_run: bool,
    report: Path | None,
    with_champions: bool,
    as_json: bool,
) -> None:
    """Run the cells of STUDY that are not finished yet, each as an MLflow run.

    STUDY is one of this project (resnet_grid, svm_grid, device_compare; `all` runs the three), of
    an installed package, or your own: FILE.py (its STUDY), FILE.py:NAME or MODULE:NAME.
    """
    asked = [_axis(text) for text in axes] + [("dataset", datasets)]
    given = [(axis, text) for axis, text in asked if text != UNSET]
    if len(given) > len(dict(given)):
        raise InvalidInput("an axis is given twice: give its values once, with commas")
    studies = _with_axes(_studies(study), dict(given))

    # After the options are read: what follows imports torch and mlflow, which takes seconds.
    choices = Choices(
        seeds=None if seeds == UNSET else parse_values("seeds", seeds, 0),
        train_limit=count("--train-limit", train_limit, unset=UNSET),
        test_limit=count("--test-limit", test_limit, unset=UNSET),
        precision="float32" if amp == "off" else amp,
        plain=plain,
    )
    worker_count = count("--workers", workers, unset="auto")

    from mnist_ops.cli.progress import GridDisplay
    from mnist_ops.runner import engine

    settings = engine.Settings(
        preset=preset,
        choices=choices,
        device=device,
        workers=worker_count,
        streams=streams,
        scheduler=None if scheduler == "none" else scheduler,
        data_dir=data_dir,
        force=force,
        retry_failed=retry_failed,
        checkpoint_s=checkpoint_every,
        share=share,
        svm_memory_gb=svm_memory,
        experiment=experiment,
    )
    if dry_run:
        _print_plans(engine.plan_locally(studies, settings), as_json=as_json)
        return
    cancellation.on_signals()
    reports = engine.run(studies, settings, GridDisplay(console(quiet=quiet)))
    if report is not None:
        labels = {
            a_plan.study.label(preset, cell)
            for a_plan in engine.plan_locally(studies, settings)
            for cell in a_plan.cells
        }
        from mnist_ops.ops.reports import write_report

        write_report(report, preset=labels.pop() if len(labels) == 1 else None, say=say)
    if with_champions:
        from mnist_ops.cli.champion import lines, register

        fitted = {cell.dataset for study in studies for cell in study.cells(preset, choices)}
        for became in register([name for name in DATASETS if name in fitted], None, data_dir):
            for line in lines(became):
                say(line)
    if as_json:
        click.echo(json.dumps([_report_fields(r) for r in reports], indent=2))
    else:
        _print_reports(reports, report)
    if problems := _problems(reports):
        raise MnistOpsError(problems)


def _problems(reports: "Sequence[StudyReport]") -> str:
    """What did not end well, and what to do about it; empty if all did."""
    now = [outcome.spec.name for r in reports for outcome in r.problems]
    before = [cell.name for r in reports for cell in r.failed_before]
    waiting = sum(r.undelivered for r in reports)
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
        lines.append(f"{waiting} runs wait for the store; `mnist-ops sync` hands them over")
    return "; ".join(lines)


def _studies(name: str) -> list[Study]:
    if name == "all":
        return list(lookup.ours("studies").values())
    if not isinstance(found := lookup.find("studies", name), Study):
        raise InvalidInput(f"{name} is no Study, but {found!r}")
    return [found]


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
    say(cells(len(listed)))


def _print_reports(reports: "Sequence[StudyReport]", folder: Path | None) -> None:
    for report in reports:
        parts = [f"{cells(len(report.finished))} computed"]
        parts += [f"{len(report.skipped)} finished before"] if report.skipped else []
        parts += [f"{len(report.failed)} failed"] if report.failed else []
        parts += [f"{len(report.stopped)} stopped"] if report.stopped else []
        parts += [f"{len(report.failed_before)} failed before"] if report.failed_before else []
        reasons = Counter(report.not_measured.values())
        parts += [f"{cells(count)} {why}" for why, count in reasons.items()]
        answer(f"{report.study}: {', '.join(parts)}")
    if folder is None:
        answer("Compare: `mlflow ui`. Tables: `mnist-ops summarize`.")
    else:
        answer(f"Report: {(folder / 'index.html').absolute()}")


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
        "undelivered": report.undelivered,
        "skipped": [spec.name for spec in report.skipped],
        "not_measured": {spec.name: why for spec, why in report.not_measured.items()},
    }
