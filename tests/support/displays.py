"""A display of grids for tests."""

from collections.abc import Mapping

from mnist_ops.runner.task import Outcome, Progress


class Recorder:
    """A display that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.started: list[tuple[str, int, int]] = []
        self.epochs: list[Progress] = []
        self.outcomes: list[Outcome] = []

    def log(self, line: str) -> None:
        self.lines.append(line)

    def start(self, title: str, cells: int, skipped: int, costs: Mapping[str, float]) -> None:
        self.started.append((title, cells, skipped))

    def progress(self, progress: Progress) -> None:
        self.epochs.append(progress)

    def outcome(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def stop(self) -> None:
        pass
