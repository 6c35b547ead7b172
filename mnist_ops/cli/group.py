"""Group of all commands: imports each when it is called, and ends every error in one line."""

import atexit
import contextlib
import importlib
import os
import platform
import shlex
import shutil
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import click

from mnist_ops import __version__
from mnist_ops.cli.options import encode_anything, log
from mnist_ops.core.atomic_files import private_folder
from mnist_ops.core.cancellation import (
    INTERRUPTED,
    exit_at_once_on_signals,
    interrupts_sent_again,
)
from mnist_ops.core.errors import MnistOpsError
from mnist_ops.core.paths import state_dir
from mnist_ops.core.redaction import redacted

# Click's help is this wide at least.
_LEAST_WIDTH = 50


class _Help(click.HelpFormatter):
    """Help that fits narrower terminals as well: texts stand below long options there."""

    def __init__(self, *, width: int | None = None, max_width: int | None = None):
        columns = shutil.get_terminal_size().columns - 2
        super().__init__(width=columns if columns < _LEAST_WIDTH else width, max_width=max_width)

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        """Write names and their texts."""
        super().write_dl(rows, col_max if self.width >= _LEAST_WIDTH else 10, col_spacing)


class _Context(click.Context):
    formatter_class = _Help


class Commands(click.Group):
    """Lazy group: a command's module is imported when it is called or its help is asked.

    Every error that a user can cause ends in one line and the right exit code.
    """

    context_class = _Context

    def __init__(self, *args: Any, summaries: Mapping[str, str], **kwargs: Any):
        """`summaries`: the commands, and the line of each in the group's help."""
        super().__init__(*args, **kwargs)
        self._summaries = summaries

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return list(self._summaries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None where there is none of that name."""
        if cmd_name not in self._summaries:
            return super().get_command(ctx, cmd_name)
        # `import` cannot be a module's name.
        name = {"import": "import_runs"}.get(cmd_name, cmd_name)
        command: click.Command = getattr(importlib.import_module(f"mnist_ops.cli.{name}"), name)
        command.context_class = _Context
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self._summaries.items()))

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line on streams that take any text."""
        encode_anything()
        with interrupts_sent_again():
            return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, and turn every error into a message and an exit code."""
        _let_warnings_pass()
        try:
            _check_home()
            return super().invoke(ctx)
        except MnistOpsError as error:
            log(f"mnist-ops: {error}")
            ctx.exit(error.exit_code)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            log(
                "mnist-ops: interrupted. Finished cells are kept; run the same command to continue."
            )
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            # The reader of our output left, as `head` does; nothing is wrong.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except OSError as error:
            log(f"mnist-ops: {error.strerror or error}: {error.filename or ''}")
            ctx.exit(1)
        except Exception as error:
            log(f"mnist-ops: {_unforeseen(error, debug=ctx.params['debug'])}")
            ctx.exit(1)
        finally:
            # A second Ctrl-C would print a traceback of whatever a library does at exit.
            atexit.register(exit_at_once_on_signals)


def _let_warnings_pass() -> None:
    """Keep ``-W error`` and PYTHONWARNINGS from turning warnings of libraries into errors."""
    options = [option for option in sys.warnoptions if not option.startswith("error")]
    if options == sys.warnoptions:
        return
    # Processes that this one starts get both.
    sys.warnoptions[:] = options
    os.environ["PYTHONWARNINGS"] = ",".join(options)
    warnings.filters = [rule for rule in warnings.filters if rule[0] != "error"]
    # The default, which this sets, is in force from then on.
    warnings.simplefilter("default", append=True)


def _check_home() -> None:
    """Raise `MnistOpsError` where the system does not say which folder is the user's."""
    with contextlib.suppress(RuntimeError):
        if Path.home().is_absolute():
            return
    raise MnistOpsError("it is not known where your home folder is: set HOME to it")


def _unforeseen(error: Exception, *, debug: bool) -> str:
    """Write the details of an unforeseen error into a file, and return a line about it."""
    details = redacted(
        "\n".join(
            [
                f"mnist-ops {__version__}, Python {sys.version}, {platform.platform()}",
                f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC, command: {shlex.join(sys.argv)}",
                "",
                *traceback.format_exception(error),
            ]
        )
    )
    if debug:
        for line in details.splitlines():
            log(line)
    summary = redacted(" ".join(str(error).split()))[:200]
    what = f"unforeseen error, {type(error).__name__}: {summary}"
    for folder in (state_dir() / "errors", Path(tempfile.gettempdir())):
        with contextlib.suppress(OSError):
            private_folder(folder)
            # Readable by its owner alone.
            handle, path = tempfile.mkstemp(".txt", f"mnist-ops-{date.today()}-", folder)
            with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(details)
            return f"{what}. Please report it with the file {path}; `mnist-ops --debug` prints it"
    return f"{what}. Please report it with what `mnist-ops --debug` prints"
