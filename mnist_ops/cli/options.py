"""What several commands share: options, and lines for people."""

import codecs
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mnist_ops.core.errors import InvalidInput
from mnist_ops.core.escaping import printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    from mnist_ops.study.specs import Spec

# What a parameter of the MLproject says where the user leaves it alone.
UNSET = "preset"

_UTF8_MODE = "PYTHONUTF8"

F = TypeVar("F", bound=Callable[..., Any])


def data_dir_option(command: F) -> F:
    """``--data-dir``: where the data sets are."""
    return click.option(
        "--data-dir",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="MNIST_OPS_DATA",
        help="Folder of the data sets, in torchvision's layout.  [default: the user cache]",
    )(command)


def experiment_option(help_text: str) -> Callable[[F], F]:
    """``--experiment``, by default what MLflow's variables say."""
    return click.option(
        "--experiment",
        help=f"{help_text}  [default: MLFLOW_EXPERIMENT_NAME, else the experiment with the id "
        "MLFLOW_EXPERIMENT_ID, else mnist-ops]",
    )


def json_option(command: F) -> F:
    """``--json``: an answer for a program."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")(
        command
    )


def count(option: str, text: str, *, unset: str) -> int | None:
    """Read `text` as a whole number; None where it is `unset`.

    Raises:
        InvalidInput: it is neither.
    """
    if text == unset:
        return None
    if not text.isascii() or not text.isdigit():
        raise InvalidInput(f"{option} takes {unset} or a whole number of at least 0, got {text!r}")
    return int(text)


def cells(number: int) -> str:
    """For example ``2 cells``."""
    return f"{number} {'cell' if number == 1 else 'cells'}"


def runs(number: int) -> str:
    """For example ``2 runs``."""
    return f"{number:,} {'run' if number == 1 else 'runs'}"


@contextmanager
def run_progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr while the block runs; yields a function of how many of how many are done.

    Where stderr is no terminal, a line now and then.
    """
    from rich.progress import Progress

    out = console()
    with Progress(console=out, transient=True, disable=not out.is_terminal) as bar:
        task = bar.add_task(title, total=None)

        def update(done: int, of: int) -> None:
            bar.update(task, completed=done, total=of)
            if not out.is_terminal and done % 1000 == 0:
                say(f"{title}: {done:,} of {of:,}")

        yield update


@contextmanager
def training_bar(spec: "Spec", steps: int) -> Iterator[Callable[[], None]]:
    """A bar of a training's steps, where there is a terminal."""
    from rich.progress import Progress

    terminal = console()
    if not terminal.is_terminal:
        yield lambda: None
        return
    with Progress(console=terminal, transient=True) as bars:
        task = bars.add_task(spec.name, total=steps or None)
        yield lambda: bars.advance(task)


def console(*, stderr: bool = True, quiet: bool = False) -> "Console":
    """Return the terminal for people, which shows texts of others as texts and obeys none.

    Args:
        stderr: for what is told beside a command's answer; else for the answer.
        quiet: drop it all.
    """
    from rich.console import Console
    from rich.segment import Segment

    class PlainTexts(Console):
        def render(
            self, renderable: "RenderableType", options: "ConsoleOptions | None" = None
        ) -> "Iterator[Segment]":
            for segment in super().render(renderable, options):
                lines = segment.text.split("\n")
                text = segment.text if segment.control else "\n".join(map(printable, lines))
                yield Segment(text, segment.style, segment.control)

    return PlainTexts(stderr=stderr, quiet=quiet, markup=False, emoji=False, highlight=False)


def encode_anything() -> None:
    """Make every text something that can be printed, and every file name something to be stored.

    On stdout and stderr, escapes stand for characters that their encoding does not have. Where the
    locale's encoding of file names is another than UTF-8, a name with an accent is no text that
    MLflow, JSON or an address could take: Python is started again in its UTF-8 mode.
    """
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get(_UTF8_MODE) != "1":
        os.environ[_UTF8_MODE] = "1"
        # ASCII is no choice of the user's, but a locale's that was never set.
        if codecs.lookup(sys.stdout.encoding).name != "ascii":
            os.environ.setdefault("PYTHONIOENCODING", sys.stdout.encoding)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def answer(line: str) -> None:
    """Print a line for people on stdout."""
    click.echo(printable(line))


def say(line: str) -> None:
    """A line for people, beside a command's answer."""
    click.echo(printable(line), err=True)
