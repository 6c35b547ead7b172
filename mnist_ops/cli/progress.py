"""Show a grid while it runs: a bar and a line a running cell, or plain lines without a terminal."""

import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from mnist_ops.core.escaping import printable
from mnist_ops.runner.eta import Estimate, duration
from mnist_ops.runner.task import Outcome
from mnist_ops.runner.task import Progress as CellProgress


class GridDisplay:
    """Draws on `console`; where that is no terminal, prints one line a finished cell."""

    def __init__(self, console: Console):
        self._console = console
        self._bars: Progress | None = None
        self._overall = TaskID(0)
        self._running: dict[str, TaskID] = {}
        self._total = self._done = 0
        self._estimate = Estimate({}, 0.0)

    def log(self, line: str) -> None:
        """Print a fact."""
        self._console.print(printable(line), markup=False, highlight=False, soft_wrap=True)

    def start(self, title: str, cells: int, skipped: int, costs: Mapping[str, float]) -> None:
        """A study begins, of whose `cells` `skipped` are finished already.

        What is left costs as much as `costs` says, by fit group, in units of their own.
        """
        before = f", {skipped} of them finished before" if skipped else ""
        self.log(f"{title}: {cells} {'cell' if cells == 1 else 'cells'}{before}")
        self._total, self._done = cells - skipped, 0
        self._estimate = Estimate(costs, time.monotonic())
        if self._console.is_terminal and self._total:
            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                _LeftColumn(self._estimate),
                console=self._console,
                transient=True,
            )
            self._bars.start()
            self._overall = self._bars.add_task(
                f"[bold]{title}", total=self._total, is_whole_grid=True
            )

    def progress(self, progress: CellProgress) -> None:
        """A fit group got further."""
        self._estimate.report(progress.key, progress.epoch, progress.epochs, time.monotonic())
        if self._bars is None:
            return
        if progress.key not in self._running:
            self._running[progress.key] = self._bars.add_task(
                f"  {progress.name}", total=progress.epochs
            )
        task = self._running[progress.key]
        self._bars.update(task, completed=progress.epoch)
        if progress.epoch == progress.epochs:
            self._bars.remove_task(self._running.pop(progress.key))

    def outcome(self, outcome: Outcome) -> None:
        """A cell ended."""
        # What was cut, or is computed elsewhere, is not over.
        if outcome.state in ("finished", "failed"):
            self._done += 1
            if self._bars is not None:
                self._bars.advance(self._overall)
        if outcome.error is not None:
            self.log(f"FAILED {outcome.spec.name}: {outcome.error}")
        elif self._bars is None and outcome.test_accuracy is not None:
            left = self._estimate.seconds_left(time.monotonic())
            self.log(
                f"[{self._done}/{self._total}] {outcome.spec.name}: "
                f"test accuracy {outcome.test_accuracy:.2%}, "
                f"trained in {outcome.train_time_s:.1f} s"
                + (f", about {duration(left)} left" if left and self._done < self._total else "")
            )

    def stop(self) -> None:
        """The study is over."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None
        self._running.clear()


class _LeftColumn(TimeRemainingColumn):
    """How long a cell still takes by its own pace, and the whole grid by what its cells cost."""

    def __init__(self, estimate: Estimate):
        super().__init__(elapsed_when_finished=True)
        self._estimate = estimate

    def render(self, task: Task) -> Text:
        if not task.fields.get("is_whole_grid"):
            return super().render(task)
        left = self._estimate.seconds_left(time.monotonic())
        return Text("-" if left is None else f"about {duration(left)}", style="progress.remaining")
