"""A progress bar for work that takes seconds to minutes, where someone is watching."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress


@contextmanager
def progress_bar(title: str, total_bytes: int | None = None) -> Iterator[Callable[[int], None]]:
    """Show a bar on stderr while the block runs, if stderr is a terminal.

    Args:
        title: What is going on.
        total_bytes: Size of the work; None shows a bar that only says "still alive".

    Yields:
        A function that takes the number of bytes just done.
    """
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(title, total=total_bytes)
        yield lambda size: progress.advance(task, size)
