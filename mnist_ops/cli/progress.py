"""Show a grid while it runs: what runs, how far it is, the best so far; plain lines elsewhere."""

import time
from collections.abc import Iterator, Mapping

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mnist_ops.core import cancellation
from mnist_ops.core.durations import duration
from mnist_ops.core.escaping import printable
from mnist_ops.runner.eta import Estimate
from mnist_ops.runner.task import Outcome
from mnist_ops.runner.task import Progress as CellProgress

# Below this width a running fit takes two lines, and the grid has no bar.
WIDE = 72
_BAR_WIDTH = 20


class GridDisplay:
    """Draws on `console`; where that is no terminal, prints one line a finished cell."""

    def __init__(self, console: Console):
        self._console = console
        self._live: Live | None = None
        self._running: dict[str, CellProgress] = {}
        self._best: dict[str, Outcome] = {}
        self._title = ""
        self._total = self._done = 0
        self._began = 0.0
        self._estimate = Estimate({}, 0.0)

    def log(self, line: str) -> None:
        """Print a fact."""
        self._console.print(printable(line), markup=False, highlight=False, soft_wrap=True)

    def start(self, title: str, cells: int, skipped: int, costs: Mapping[str, float]) -> None:
        """Begin a study, of whose `cells` `skipped` are finished already.

        What is left costs as much as `costs` says, by fit group, in units of their own.
        """
        before = f", {skipped} of them finished before" if skipped else ""
        self.log(f"{title}: {cells} {'cell' if cells == 1 else 'cells'}{before}")
        self._title, self._total, self._done = title, cells - skipped, 0
        self._best.clear()
        self._began = time.monotonic()
        self._estimate = Estimate(costs, self._began)
        if self._console.is_terminal and not self._console.is_dumb_terminal and self._total:
            self._live = Live(
                get_renderable=self.drawn,
                console=self._console,
                refresh_per_second=2,
                transient=True,
            )
            self._live.start()

    def progress(self, progress: CellProgress) -> None:
        """Show how far a fit group is."""
        self._estimate.report(progress.key, progress.epoch, progress.epochs, time.monotonic())
        self._running[progress.key] = progress
        if progress.epoch == progress.epochs:
            del self._running[progress.key]

    def outcome(self, outcome: Outcome) -> None:
        """Show how a cell ended."""
        # What was cut, or is computed elsewhere, is not over.
        if outcome.state in ("finished", "failed"):
            self._done += 1
        if outcome.error is not None:
            self.log(f"FAILED {outcome.spec.name}: {outcome.error}")
        elif outcome.test_accuracy is not None:
            best = self._best.get(outcome.spec.dataset)
            if best is None or outcome.test_accuracy > (best.test_accuracy or 0):
                self._best[outcome.spec.dataset] = outcome
            if self._live is None:
                self.log(self._line(outcome))

    def stop(self) -> None:
        """End the study."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        self._running.clear()
        for line in self._best_lines():
            self.log(line)

    def _line(self, outcome: Outcome) -> str:
        left = self._estimate.seconds_left(time.monotonic())
        return (
            f"[{self._done}/{self._total}] {outcome.spec.name}: "
            f"test accuracy {outcome.test_accuracy:.2%}, "
            f"trained in {outcome.train_time_s:.1f} s"
            + (f", about {duration(left)} left" if left and self._done < self._total else "")
        )

    def _best_lines(self) -> Iterator[str]:
        for dataset, outcome in self._best.items():
            yield f"best on {dataset}: {outcome.test_accuracy:.2%}, {outcome.spec.name}"

    def drawn(self) -> RenderableType:
        """Return the running fits, the whole grid, and the best cell of each data set."""
        now = time.monotonic()
        is_wide = self._console.width >= WIDE
        rows = Table.grid(padding=(0, 2, 0, 0), expand=True)
        rows.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        if is_wide:
            rows.add_column(no_wrap=True)
        for progress in self._running.values():
            name, state = f"  {progress.name}", _epochs(progress)
            if is_wide:
                rows.add_row(Text(name), state)
            else:
                rows.add_row(Text(name))
                rows.add_row(f"    {state}")
        whole = Table.grid(padding=(0, 2, 0, 0))
        parts: list[RenderableType] = [Text(self._title, style="bold")]
        if is_wide:
            parts.append(ProgressBar(self._total, self._done, width=_BAR_WIDTH))
        parts.append(f"{self._done} of {self._total}")
        whole.add_row(*parts)
        best = [
            Text(line, style="dim", no_wrap=True, overflow="ellipsis")
            for line in self._best_lines()
        ]
        return Group(rows, whole, Text(self._times(now)), *best)

    def _times(self, now: float) -> str:
        """Return what the grid does, since when, and how long it still takes."""
        since = f"running for {duration(now - self._began)}"
        if cancellation.requested():
            return "stopping: saving what runs; Ctrl-C again stops at once"
        if not self._running:
            return f"{since}, {'saving' if self._done else 'starting workers'}"
        left = self._estimate.seconds_left(now)
        return f"{since}, " + (f"about {duration(left)} left" if left else "no estimate yet")


def _epochs(progress: CellProgress) -> str:
    if progress.epochs == 1:
        return "running"
    return f"epoch {progress.epoch + 1} of {progress.epochs}"
