"""The group of all commands: every error that a user can cause is one line and an exit code."""

import os
import sys
from typing import Any

import click

from mnist_ops.errors import MnistOpsError
from mnist_ops.stopping import INTERRUPTED


class Commands(click.Group):
    """Ends every error that a user can cause in one line and the right exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what goes wrong for the user's or the world's reasons ends it here."""
        try:
            return super().invoke(ctx)
        except MnistOpsError as error:
            click.echo(f"mnist-ops: {error}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo(
                "mnist-ops: interrupted. Finished cells are kept; the same command goes on.",
                err=True,
            )
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            # The reader of our output left, as `head` does; nothing is wrong.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except OSError as error:
            click.echo(f"mnist-ops: {error.strerror or error}: {error.filename or ''}", err=True)
            ctx.exit(1)
