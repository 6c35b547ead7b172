"""Consoles and progress bars."""

import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import Progress
from rich.segment import Segment

from mnist_ops.cli.options import answer, log
from mnist_ops.core.escaping import printable
from mnist_ops.study.specs import Spec


@contextmanager
def run_progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show progress on stderr; yield a function of the number done and the number of all.

    Without a terminal, a line is printed every 1,000.
    """
    out = console()
    with Progress(console=out, transient=True, disable=not out.is_terminal) as bar:
        task = bar.add_task(title, total=None)

        def update(done: int, of: int) -> None:
            bar.update(task, completed=done, total=of)
            if not out.is_terminal and done % 1000 == 0:
                log(f"{title}: {done:,} of {of:,}")

        yield update


@contextmanager
def training_bar(spec: Spec, steps: int) -> Iterator[Callable[[], None]]:
    """Show the steps of a training as a bar, on a terminal; yield a function to call a step."""
    terminal = console()
    if not terminal.is_terminal:
        yield lambda: None
        return
    with Progress(console=terminal, transient=True) as bars:
        task = bars.add_task(spec.name, total=steps or None)
        yield lambda: bars.advance(task)


def console(*, stderr: bool = True, quiet: bool = False) -> Console:
    """Return a console that prints control sequences and markup in texts as they are.

    Args:
        stderr: whether it writes to stderr, else to stdout.
        quiet: print nothing.
    """
    return _PlainTexts(stderr=stderr, quiet=quiet, markup=False, emoji=False, highlight=False)


def answer_in_words(text: str) -> None:
    """Print a sentence of the command's result; on a terminal it is broken between words."""
    for line in in_words(console(stderr=False), text, "  ").splitlines():
        answer(line)


def in_words(out: Console, text: str, indent: str) -> str:
    """Return `text`, broken between words where it is wider than a terminal.

    Args:
        out: where it is printed; what is no terminal gets it in one line.
        text: one line.
        indent: of the second line and those after it.
    """
    if not out.is_terminal:
        return text
    lines = textwrap.wrap(
        text,
        out.width,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines)


class _PlainTexts(Console):
    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            lines = segment.text.split("\n")
            text = segment.text if segment.control else "\n".join(map(printable, lines))
            yield Segment(text, segment.style, segment.control)
