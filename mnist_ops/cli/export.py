"""``mnist-ops export``: finished runs into one file."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from mnist_ops.cli.options import answer, json_option, log, runs
from mnist_ops.cli.terminal import run_progress
from mnist_ops.core.errors import MnistOpsError


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--experiment", help="Only the runs of this MLflow experiment.  [default: all]")
@json_option
def export(file: Path, experiment: str | None, as_json: bool) -> None:
    """Write the finished runs into FILE, to import them into another store.

    Params, metrics with their history, tags, predictions and times; of each cell the run that the
    report uses. The same runs give the same bytes.
    """
    from mnist_ops import tracking
    from mnist_ops.tracking.exchange import export_runs

    with run_progress("Reading runs") as progress:
        done = export_runs(
            file, experiment=experiment, progress=progress, left_out=tracking.first_lines(log)
        )
    if done.without_predictions:
        log(f"{runs(done.without_predictions)} without predictions that can be read.")
    if as_json:
        click.echo(json.dumps(asdict(done), default=str, indent=2))
    else:
        answer(f"{runs(done.runs)}, {done.bytes:,} bytes: {file}")
        answer(f"sha256 {done.sha256}")
    if lost := done.lost_predictions:
        named = ", ".join(lost[:5]) + (" and others" if len(lost) > 5 else "")
        raise MnistOpsError(
            f"{file} has all else, but the predictions of {runs(len(lost))} cannot be read: "
            f"{named}; `mnist-ops doctor` says more"
        )
