"""Print the reference of commands, `docs/commands.md`, from the help of each command."""

import click

from mnist_ops.cli import COMMANDS, main

_HEAD = """# Commands

Written by `make commands` from the `--help` of each command. The exit code is 0 for success, 1 if
the work failed, and 2 if the command was used wrongly. The environment variable
`MLFLOW_TRACKING_URI` selects the store, `MNIST_OPS_DATA` the folder of the data sets, and
`MNIST_OPS_STATE` that of local state.
"""
_WIDTH = 80


def page() -> str:
    """Return the page as Markdown: a section for each command, with its help."""
    parts = [_HEAD]
    parent = click.Context(main, info_name="mnist-ops", **main.context_settings)
    for name in COMMANDS:
        command = main.get_command(parent, name)
        assert command is not None
        context = click.Context(
            command, parent, info_name=name, max_content_width=_WIDTH, terminal_width=_WIDTH
        )
        lines = (line.rstrip() for line in command.get_help(context).splitlines())
        parts.append(f"## mnist-ops {name}\n\n```text\n" + "\n".join(lines) + "\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    click.echo(page(), nl=False)
