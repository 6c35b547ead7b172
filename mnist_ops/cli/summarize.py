"""``mnist-ops summarize``: the report from the tracked runs alone."""

import json
import os
import sys
from pathlib import Path

import click

from mnist_ops.cli.options import answer, json_option, say
from mnist_ops.cli.sources import from_option, store_of
from mnist_ops.core.errors import InvalidInput, MnistOpsError

FULLEST = "fullest"
FORMATS = ("html", "json", "svg", "png")


@click.command()
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
@from_option
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
@click.option(
    "--into",
    multiple=True,
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="A Markdown file to put the results into, between <!-- mnist-ops results --> and "
    "<!-- end of mnist-ops results -->; what the study could not show, between such marks with "
    "beyond for results. Repeatable.",
)
@click.option(
    "--pictures",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for copies of the pictures that --into shows.  [default: the report's]",
)
@click.option("--open", "open_page", is_flag=True, help="Then open the page, on a desktop.")
@json_option
def summarize(
    out: Path,
    preset: str,
    sources: tuple[Path, ...],
    experiment: str | None,
    formats: str,
    check: bool,
    baseline: Path | None,
    into: tuple[Path, ...],
    pictures: Path | None,
    open_page: bool,
    as_json: bool,
) -> None:
    """Rebuild tables, figures and findings from the tracked runs alone."""
    chosen = _formats(formats)

    if sources and experiment is not None:
        raise InvalidInput("--experiment is of the tracking store, --from takes its place: use one")
    if pictures is not None and not into:
        raise InvalidInput("--pictures is for what --into shows: name a file with --into")

    from mnist_ops.ops.reports import write_report

    with store_of(sources) as uri:
        report = write_report(
            out,
            preset=None if preset == FULLEST else preset,
            experiment=experiment,
            uri=uri,
            formats=chosen,
            say=say,
        )
    for path in into:
        report.put_into(path, pictures)
    if as_json:
        click.echo(json.dumps(report.as_dict(), indent=2))
    else:
        for line in report.lines():
            answer(line)
        answer(f"Report: {report.page.absolute()}")
    if open_page and _has_desktop():
        click.launch(str(report.page))
    if check and (lost := report.lost(baseline)):
        raise MnistOpsError(
            f"supported by the baseline and no longer: {', '.join(f.id for f in lost)}"
        )


def _has_desktop() -> bool:
    """Whether there is something to open a page on; the opener of a Linux without fails aloud."""
    displays = ("DISPLAY", "WAYLAND_DISPLAY")
    return sys.platform != "linux" or any(os.environ.get(name) for name in displays)


def _formats(text: str) -> list[str]:
    formats = [part.strip() for part in text.split(",") if part.strip()]
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise InvalidInput(f"--format takes some of {','.join(FORMATS)}; got {text!r}")
    return formats
