"""``--from``: exported runs in place of those of the tracking store."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from mnist_ops.cli.options import log
from mnist_ops.cli.terminal import run_progress

F = TypeVar("F", bound=Callable[..., Any])


def from_option(command: F) -> F:
    """``--from``: files, for `store_of`."""
    return click.option(
        "--from",
        "sources",
        multiple=True,
        metavar="FILE",
        type=click.Path(exists=True, path_type=Path),
        help="Exported runs, or a folder of them, in place of the tracking store's. Repeatable.",
    )(command)


@contextmanager
def store_of(sources: Sequence[Path]) -> Iterator[str]:
    """Yield the URI of MLflow's current store, or of one that has the runs of `sources` alone."""
    from mnist_ops import tracking
    from mnist_ops.tracking import exchange

    if not sources:
        yield tracking.default_uri()
        return
    with ExitStack() as stack:
        with run_progress("Reading runs") as progress:
            uri = stack.enter_context(exchange.store_of(sources, progress=progress, left_out=log))
        yield uri
