"""``mnist-ops champion``: register the best models of the tracked runs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnist_ops.cli.options import answer, data_dir_option, json_option, log, study_option
from mnist_ops.cli.terminal import training_bar
from mnist_ops.core.errors import InvalidInput
from mnist_ops.study import lookup
from mnist_ops.study.grids import Study

if TYPE_CHECKING:
    from mnist_ops.serving.champions import Report


@click.command()
@click.option("--datasets", default="all", show_default=True, help="Data sets, with commas.")
@study_option(
    "A study whose own functions or data the runs used: FILE.py, FILE.py:NAME or MODULE:NAME. "
    "Repeatable."
)
@click.option(
    "--preset",
    help="Only runs of this preset.  [default: those with the most validation images]",
)
@data_dir_option
@json_option
def champion(
    datasets: str,
    studies: list[Study],
    preset: str | None,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Fit the best runs again, register their models, and name the champions.

    The best of each family (network, support vector machine) by validation accuracy becomes a
    version of mnist-ops-mnist or mnist-ops-fashion. The better of them is `champion` if it beats
    the one before by more than chance (McNemar's test on the test images), else `challenger`.
    """
    reports = register(_datasets(datasets, studies), preset, data_dir)
    if as_json:
        click.echo(json.dumps([_fields(report) for report in reports], indent=2))
        return
    for report in reports:
        for line in lines(report):
            answer(line)
    for line in _uses(reports[0], studies):
        answer(line)


def register(datasets: Sequence[str], preset: str | None, data_dir: Path | None) -> "list[Report]":
    """`champions.register_best` on MLflow's current store, shown to people."""
    from mnist_ops import tracking
    from mnist_ops.serving.champions import register_best

    uri = tracking.default_uri()
    return register_best(
        uri, datasets, preset=preset, data_dir=data_dir, log=log, watch=training_bar
    )


def lines(report: "Report") -> list[str]:
    """Return the lines on what happened with a data set's best run."""
    told = [report.contender.version.model]
    for each in report.registered:
        version = each.version
        test = float(version.tags["mnist_ops.metric.test_accuracy"])
        told.append(
            f"  version {version.number}: {each.candidate.name}, validation "
            f"{each.candidate.val_accuracy:.2%}, test {test:.2%}"
        )
    alias = "champion" if report.verdict.promoted else "challenger"
    told.append(f"  {alias} is version {report.contender.version.number}: {report.verdict.reason}")
    return told


def _uses(report: "Report", studies: Sequence[Study]) -> list[str]:
    """Return the commands that use a champion."""
    of_study = next((s.place for s in studies if report.dataset in s.datasets), "")
    named = f" --study {of_study} --dataset {report.dataset}" if of_study else ""
    told = [f"Use it:   mnist-ops predict{named} IMAGE.png"]
    if not of_study:
        model = report.contender.version.model
        told += [f"Serve it: mlflow models serve -m models:/{model}@champion --env-manager local"]
    return told


def _datasets(text: str, studies: Sequence[Study]) -> list[str]:
    of_studies = [name for study in studies for name in study.datasets]
    known = tuple(dict.fromkeys(of_studies)) or lookup.known("datasets")
    if text == "all":
        return list(known)
    chosen = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not chosen or not set(chosen) <= set(known):
        raise InvalidInput(f"--datasets takes some of {','.join(known)}; got {text!r}")
    return chosen


def _fields(report: "Report") -> dict[str, Any]:
    return {
        "dataset": report.dataset,
        "model": report.contender.version.model,
        "versions": [
            {
                "version": each.version.number,
                "family": each.candidate.family,
                "name": each.candidate.name,
                "run_id": each.candidate.run_id,
                "fingerprint": each.candidate.fingerprint,
                "val_accuracy": each.candidate.val_accuracy,
                "test_accuracy": float(each.version.tags["mnist_ops.metric.test_accuracy"]),
                "registered_now": each.is_new,
            }
            for each in report.registered
        ],
        "contender": report.contender.version.number,
        "alias": "champion" if report.verdict.promoted else "challenger",
        "reason": report.verdict.reason,
    }
