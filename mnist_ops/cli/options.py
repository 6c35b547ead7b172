"""Options and messages that several commands share."""

import codecs
import io
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import click

from mnist_ops.core import instruction_set
from mnist_ops.core.errors import InvalidInput
from mnist_ops.core.escaping import printable
from mnist_ops.study import grids

# Default of the MLproject's parameters: the preset decides.
UNSET = "preset"

_UTF8_MODE = "PYTHONUTF8"

F = TypeVar("F", bound=Callable[..., Any])


def data_dir_option(command: F) -> F:
    """Add ``--data-dir``: where the data sets are."""
    return click.option(
        "--data-dir",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="MNIST_OPS_DATA",
        help="Folder of the data sets, in torchvision's layout.  [default: the user cache]",
    )(command)


def experiment_option(help_text: str) -> Callable[[F], F]:
    """Return the option ``--experiment``, by default what MLflow's variables name."""
    return click.option(
        "--experiment",
        help=f"{help_text}  [default: MLFLOW_EXPERIMENT_NAME, else the experiment with the id "
        "MLFLOW_EXPERIMENT_ID, else mnist-ops]",
    )


def study_option(help_text: str) -> Callable[[F], F]:
    """Return the option ``--study``, whose values are studies."""
    return click.option(
        "--study",
        "studies",
        multiple=True,
        metavar="STUDY",
        callback=lambda context, option, names: [grids.find(name) for name in names],
        help=help_text,
    )


def json_option(command: F) -> F:
    """Add ``--json``: output for a program."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")(
        command
    )


def instruction_set_option(help_text: str) -> Callable[[F], F]:
    """Return the option ``--instruction-set``, a name of oneDNN's or ``auto``."""
    # The choices by themselves are wider than a terminal.
    return click.option(
        "--instruction-set",
        metavar="NAME",
        type=click.Choice([instruction_set.AUTO, *instruction_set.SETS]),
        default=instruction_set.AUTO,
        show_default=True,
        help=f"{help_text} One of {instruction_set.AUTO}, {', '.join(instruction_set.SETS)}.",
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
    """Format a number of cells, for example ``2 cells``."""
    return f"{number} {'cell' if number == 1 else 'cells'}"


def runs(number: int) -> str:
    """Format a number of runs, for example ``2 runs``."""
    return f"{number:,} {'run' if number == 1 else 'runs'}"


class GroupedCommand(click.Command):
    """Command that takes its options in groups: a value of a dataclass a group.

    A group gathers the options that are named like the fields of its dataclass. In the help it is a
    section, headed by the first line of the dataclass's docstring.
    """

    def __init__(self, *args: Any, groups: Mapping[str, type[Any]], **kwargs: Any):
        """`groups`: parameter of the command -> dataclass of its value."""
        super().__init__(*args, **kwargs)
        self._groups = groups

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command with the values of its groups."""
        given = ctx.params
        for parameter, kind in self._groups.items():
            given[parameter] = kind(**{field.name: given.pop(field.name) for field in fields(kind)})
        return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the options by group; those of none come last."""
        options = {
            each.name: each.get_help_record(ctx)
            for each in self.get_params(ctx)
            if isinstance(each, click.Option)
        }
        for kind in self._groups.values():
            records = [options.pop(field.name) for field in fields(kind)]
            with formatter.section((kind.__doc__ or "").partition("\n")[0].rstrip(".")):
                formatter.write_dl([record for record in records if record])
        with formatter.section("Other options"):
            formatter.write_dl([record for record in options.values() if record])


def encode_anything() -> None:
    """Let every text be printed, and every file name be stored.

    On stdout and stderr, characters that the encoding lacks are escaped. Where the locale's
    encoding of file names is not UTF-8, MLflow, JSON and URIs cannot take a name with an accent:
    Python is started again in its UTF-8 mode.
    """
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get(_UTF8_MODE) != "1":
        os.environ[_UTF8_MODE] = "1"
        # ASCII is the encoding of an unset locale, not a choice of the user's.
        if codecs.lookup(sys.stdout.encoding).name != "ascii":
            os.environ.setdefault("PYTHONIOENCODING", sys.stdout.encoding)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def answer(line: str) -> None:
    """Print a line of the command's result on stdout."""
    click.echo(printable(line))


def log(line: str) -> None:
    """Print a line beside the command's result, on stderr."""
    click.echo(printable(line), err=True)
