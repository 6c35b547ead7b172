"""``--from``: exported runs in place of those of the tracking store."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mnist_ops.cli.options import log
from mnist_ops.cli.terminal import run_progress

if TYPE_CHECKING:
    from mnist_ops.tracking import RunSource

F = TypeVar("F", bound=Callable[..., Any])


def from_option(command: F) -> F:
    """``--from``: files, for `runs_of`."""
    return click.option(
        "--from",
        "sources",
        multiple=True,
        metavar="FILE",
        type=click.Path(exists=True, path_type=Path),
        help="Exported runs, or a folder of them, in place of the tracking store's. Repeatable.",
    )(command)


@contextmanager
def runs_of(sources: Sequence[Path]) -> Iterator["RunSource"]:
    """Yield the runs of MLflow's current store, or those of the files `sources` alone."""
    from mnist_ops import tracking
    from mnist_ops.tracking import exchange

    if not sources:
        yield tracking.StoredRuns()
        return
    with run_progress("Reading runs") as progress:
        exported = exchange.ExportedRuns(
            sources, progress=progress, left_out=tracking.first_lines(log)
        )
    with exported:
        yield exported
