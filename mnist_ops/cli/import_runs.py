"""``mnist-ops import``: the runs of an exported file into the store."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from mnist_ops.cli.options import answer, experiment_option, json_option, log, runs
from mnist_ops.cli.terminal import run_progress


@click.command("import")
@click.argument("file", type=click.Path(dir_okay=False, exists=True, path_type=Path))
@experiment_option("MLflow experiment of the imported runs.")
@json_option
def import_runs(file: Path, experiment: str | None, as_json: bool) -> None:
    """Write the runs of FILE, which `mnist-ops export` wrote, into the store.

    A cell that has a finished run here keeps it; nothing is overwritten. FILE is checked whole
    before anything is written. After an interruption the same command goes on.
    """
    from mnist_ops import tracking
    from mnist_ops.tracking import exchange

    with run_progress("Writing runs") as progress:
        done = exchange.import_runs(
            file, experiment=experiment, progress=progress, left_out=tracking.first_lines(log)
        )
    if as_json:
        click.echo(json.dumps(asdict(done), indent=2))
    else:
        present = f", {runs(done.present)} were here" if done.present else ""
        left_out = f", {runs(done.left_out)} left out" if done.left_out else ""
        answer(f"{runs(done.imported)} imported{present}{left_out}")
