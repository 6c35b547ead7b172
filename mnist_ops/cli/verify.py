"""``mnist-ops verify``: finished cells computed again."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mnist_ops.cli.options import (
    answer,
    cells,
    data_dir_option,
    instruction_set_option,
    json_option,
    log,
    study_option,
)
from mnist_ops.cli.sources import from_option, runs_of
from mnist_ops.cli.terminal import answer_in_words, training_bar
from mnist_ops.core import instruction_set as instructions
from mnist_ops.core.errors import MnistOpsError
from mnist_ops.study.grids import Study

if TYPE_CHECKING:
    from mnist_ops.serving.verify import Repeat


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@from_option
@click.option("--sample", type=click.IntRange(min=1), help="Only so many cells, drawn by chance.")
@click.option("--seed", default=0, show_default=True, help="Of --sample.")
@study_option(
    "A study whose own functions or data the cells use: FILE.py, FILE.py:NAME or MODULE:NAME. "
    "Repeatable."
)
@instruction_set_option(
    "Vector instructions that torch computes with; auto: those of each run, if the CPU has them."
)
@data_dir_option
@json_option
def verify(
    names: tuple[str, ...],
    sources: tuple[Path, ...],
    sample: int | None,
    seed: int,
    studies: list[Study],
    instruction_set: str,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Compute finished cells again, and compare with what their runs logged.

    NAME is a run's name or its cell's fingerprint; without one, all finished cells. With the run's
    library versions and instruction set every prediction is the same; elsewhere the accuracy is,
    but for what two seeds differ by. Exits with 1 where it is not. Nothing is tracked.
    """
    instructions.apply()

    from mnist_ops import tracking
    from mnist_ops.serving.verify import repeat

    repeats = []
    with runs_of(sources) as runs:
        for found in repeat(
            runs,
            names,
            sample=sample,
            seed=seed,
            asked=instruction_set,
            data_dir=data_dir,
            watch=training_bar,
            left_out=tracking.first_lines(log),
        ):
            repeats.append(found)
            (log if as_json else answer_in_words)(_line(found))
    if as_json:
        found_fields = [
            asdict(r) | {"verdict": r.agreement.verdict, "confirms": r.confirms} for r in repeats
        ]
        click.echo(json.dumps(found_fields, indent=2))
    lost = [found for found in repeats if not found.confirms]
    (log if as_json else answer)(f"{len(repeats) - len(lost)} of {len(repeats)} cells agree")
    if lost:
        raise MnistOpsError(f"{cells(len(lost))} of {len(repeats)} not confirmed")


def _line(found: "Repeat") -> str:
    note = found.instructions.note
    return (
        f"{found.name} ({found.study}): logged {found.logged:.2%}, now {found.repeated:.2%}; "
        f"{found.agreement.text}{note and f'; {note}'}"
    )
