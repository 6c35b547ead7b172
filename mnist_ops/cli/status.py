"""``mnist-ops status``: how far the running grids are, or those of the last command."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mnist_ops.cli.options import answer, json_option, log
from mnist_ops.cli.terminal import console
from mnist_ops.core.durations import duration
from mnist_ops.core.escaping import printable

if TYPE_CHECKING:
    from mnist_ops.ops.status import GridStatus, RunningFit

_STATES = {
    "running": ("running", "bold green"),
    "died": ("interrupted; the same command resumes it", "bold red"),
    "finished": ("finished", "green"),
    "failed": ("ended with failures", "bold red"),
    "killed": ("was stopped; the same command resumes it", "yellow"),
}
_BAR_WIDTH = 40


@click.command()
@click.option("--watch", is_flag=True, help="Look again and again until nothing runs.")
@click.option(
    "--every",
    type=click.FloatRange(min=0.5),
    default=5,
    show_default=True,
    metavar="SECONDS",
    help="How often --watch looks.",
)
@json_option
def status(watch: bool, every: float, as_json: bool) -> None:
    """Show how far the running grids are, or those of the last command.

    Works from any terminal that reaches the tracking store (MLFLOW_TRACKING_URI). Cells that were
    finished before a grid began count as done, and not as its speed.
    """
    from mnist_ops import tracking
    from mnist_ops.ops.status import grid_status

    uri = tracking.default_uri()
    client = tracking.connect(uri, create=False)
    left_out = tracking.once(tracking.first_lines(log))

    def looks() -> "Iterator[list[GridStatus]]":
        while True:
            with tracking.tracking_errors(uri):
                grids = grid_status(client, time.time(), left_out)
            yield grids
            if not watch or all(grid.state != "running" for grid in grids):
                return
            time.sleep(every)

    terminal = console(stderr=False)
    if as_json:
        for grids in looks():
            click.echo(json.dumps([_fields(grid) for grid in grids], indent=None if watch else 2))
    elif watch and terminal.is_terminal:
        _watch(terminal, looks())
    elif terminal.is_terminal:
        for grids in looks():
            terminal.print(drawn(grids))
    else:
        for grids in looks():
            for line in lines(grids):
                answer(line)


def lines(grids: "Sequence[GridStatus]") -> list[str]:
    """Return the grids as plain lines: one a grid, and below it one a running fit."""
    found = []
    for grid in grids:
        state, _ = _STATES[grid.state]
        where = f" on {grid.host}" if grid.host and grid.state == "running" else ""
        found.append(f"{_title(grid)}: {state}{where}; {_counts(grid)}; {_times(grid)}")
        found += [
            f"  {_name(fit)}: epoch {_epochs(fit)}, {duration(fit.running_s)}, on {fit.host or '?'}"
            for fit in grid.fits
        ]
    return found


def drawn(grids: "Sequence[GridStatus]") -> RenderableType:
    """Return the grids for a terminal: a headline, a bar and a table each."""
    parts: list[RenderableType] = []
    for grid in grids:
        state, style = _STATES[grid.state]
        head = Text.assemble((_title(grid), "bold"), "  ", (state, style))
        if grid.host and grid.state == "running":
            head.append(printable(f" on {grid.host}"))
        head.append(f"  {_times(grid)}", style="dim")
        # A bar by itself ends no line.
        bar = Table.grid()
        bar.add_column(width=_BAR_WIDTH)
        bar.add_row(ProgressBar(total=max(grid.cells, 1), completed=grid.done, width=_BAR_WIDTH))
        parts += [head, bar, Text(_counts(grid))]
        if grid.fits:
            table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
            for column in ("running now", "epoch", "for", "on"):
                table.add_column(column, no_wrap=column != "running now")
            for fit in grid.fits:
                table.add_row(_name(fit), _epochs(fit), duration(fit.running_s), fit.host or "?")
            parts += [Text(), table]
        parts.append(Text())
    return Group(*parts[:-1])


def _watch(terminal: Console, looks: "Iterator[list[GridStatus]]") -> None:
    try:
        with Live(console=terminal, auto_refresh=False) as live:
            for grids in looks:
                live.update(drawn(grids), refresh=True)
    except KeyboardInterrupt:
        # Who watches has seen enough; what is watched goes on.
        return


def _title(grid: "GridStatus") -> str:
    return printable(f"{grid.study} ({grid.preset})" if grid.preset else grid.study)


def _counts(grid: "GridStatus") -> str:
    parts = [f"{grid.done} of {grid.cells} cells done"]
    parts[0] += f" ({grid.before} before it began)" if grid.before else ""
    parts += [f"{grid.running} running"] if grid.running else []
    parts += [f"{grid.failed} failed"] if grid.failed else []
    parts += [f"{grid.left} left"] if grid.left else []
    return ", ".join(parts)


def _times(grid: "GridStatus") -> str:
    if grid.state == "running":
        left = "no estimate yet" if grid.left_s is None else f"about {duration(grid.left_s)} left"
        return f"for {duration(grid.elapsed_s)}, {left}"
    if grid.state == "died":
        return f"began {duration(grid.elapsed_s)} ago"
    return f"took {duration(grid.elapsed_s)}"


def _name(fit: "RunningFit") -> str:
    return printable(f"{fit.name} (and {fit.others} more)" if fit.others else fit.name)


def _epochs(fit: "RunningFit") -> str:
    # The epoch that runs is the one after those that are over.
    if fit.epochs == 1:
        return "-"
    return f"{min(fit.epoch + 1, fit.epochs)} of {fit.epochs}"


def _fields(grid: "GridStatus") -> dict[str, Any]:
    return asdict(grid) | {"done": grid.done, "left": grid.left}
