"""``mnist-ops summarize``: the report from the tracked runs alone."""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import click

from mnist_ops.cli.options import GroupedCommand, answer, json_option, log, study_option
from mnist_ops.cli.sources import from_option, runs_of
from mnist_ops.cli.terminal import answer_in_words
from mnist_ops.core.errors import InvalidInput, MnistOpsError
from mnist_ops.study.grids import Study

FULLEST = "fullest"
FORMATS = ("html", "json", "svg", "png")


@dataclass(frozen=True)
class Runs:
    """Selection of runs."""

    preset: str
    sources: tuple[Path, ...]
    experiment: str | None
    studies: list[Study]
    metric: str | None
    seed_param: str | None
    lowest: bool


@dataclass(frozen=True)
class Output:
    """Output."""

    out: Path
    formats: str
    into: tuple[Path, ...]
    pictures: Path | None
    open_page: bool
    as_json: bool


@dataclass(frozen=True)
class Baseline:
    """Comparison with earlier findings."""

    check: bool
    baseline: Path | None


@click.command(cls=GroupedCommand, groups={"which": Runs, "output": Output, "against": Baseline})
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
@study_option("Report on this study: its name, FILE.py, FILE.py:NAME or MODULE:NAME. Repeatable.")
@from_option
@click.option("--experiment", help="Only the runs of this MLflow experiment.  [default: all]")
@click.option(
    "--metric", help="Report on any runs of --experiment, whoever logged them, by this metric."
)
@click.option(
    "--seed-param",
    help="With --metric: the param whose values are repeats.  [default: seed, random_state or "
    "random_seed]",
)
@click.option("--lowest", is_flag=True, help="With --metric: less is better, as of a loss.")
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
@click.option(
    "--into",
    multiple=True,
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="A Markdown file to put the results into, between <!-- mnist-ops results --> and "
    "<!-- end of mnist-ops results -->. Marks with summary for results get the best results alone, "
    "marks with beyond what the study could not show. Repeatable.",
)
@click.option(
    "--pictures",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for copies of the pictures that --into shows.  [default: the report's]",
)
@click.option("--open", "open_page", is_flag=True, help="Then open the page, on a desktop.")
@json_option
def summarize(which: Runs, output: Output, against: Baseline) -> None:
    """Rebuild tables, figures and findings from the tracked runs alone."""
    formats = _formats(output.formats)
    if which.sources and which.experiment is not None:
        raise InvalidInput("--experiment and --from are mutually exclusive")
    if output.pictures is not None and not output.into:
        raise InvalidInput("--pictures needs --into, whose pictures it copies")
    if which.studies and (output.into or against.check):
        raise InvalidInput("--into and --check are of the published study: leave --study out")

    if (which.seed_param or which.lowest) and not which.metric:
        raise InvalidInput("--seed-param and --lowest need --metric")
    if which.metric and (which.experiment is None or which.studies or output.into or against.check):
        raise InvalidInput("--metric takes --experiment, and no --study, --into or --check")

    from mnist_ops.compare.generic import Score
    from mnist_ops.compare.tables.table import Kind
    from mnist_ops.ops.reports import write_experiment_report, write_report

    if which.metric and which.experiment:
        kind = Kind(decimals=4, significant=4)
        score = Score(which.metric, which.metric, 1, kind, which.metric, lowest=which.lowest)
        report = write_experiment_report(
            output.out,
            which.experiment,
            score,
            seed=which.seed_param,
            formats=formats,
            log=log,
        )
    else:
        with runs_of(which.sources) as runs:
            report = write_report(
                output.out,
                preset=None if which.preset == FULLEST else which.preset,
                experiment=which.experiment,
                runs=runs,
                studies=which.studies,
                formats=formats,
                log=log,
            )
    for path in output.into:
        report.put_into(path, output.pictures)
    if output.as_json:
        click.echo(json.dumps(report.as_dict(), indent=2))
    else:
        for line in report.lines():
            answer_in_words(line)
        answer(f"Report: {report.page.absolute()}")
    if output.open_page and _has_desktop():
        click.launch(str(report.page))
    if against.check and (lost := report.lost(against.baseline)):
        raise MnistOpsError(
            f"supported by the baseline and no longer: {', '.join(f.id for f in lost)}"
        )


def _has_desktop() -> bool:
    """Return whether there is a desktop; without one, the opener of Linux prints errors."""
    displays = ("DISPLAY", "WAYLAND_DISPLAY")
    return sys.platform != "linux" or any(os.environ.get(name) for name in displays)


def _formats(text: str) -> list[str]:
    formats = [part.strip() for part in text.split(",") if part.strip()]
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise InvalidInput(f"--format takes some of {','.join(FORMATS)}; got {text!r}")
    return formats
