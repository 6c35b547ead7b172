"""Options of a grid, and the display that follows it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from mnist_ops.fitting.checkpoints import DEFAULT_EVERY_S
from mnist_ops.runner.task import Outcome, Progress
from mnist_ops.study.grids import Choices
from mnist_ops.study.specs import Spec


@dataclass(frozen=True)
class Settings:
    """Settings that apply to every study of a run.

    Attributes:
        preset: one of the presets of each study.
        choices: what the user changed of the preset.
        device: ``auto``, ``cpu`` or ``cuda``.
        workers: see `open_pool`.
        scheduler: see `open_pool`.
        data_dir: folder of the data sets; None is the default.
        force: compute finished cells again; the new runs replace the old ones.
        retry_failed: compute cells again that failed before.
        checkpoint_s: seconds of training that an interruption may cost.
        streams: number of cells that may train side by side on a CUDA device. A study that
            measures time trains one at a time.
        share: fit the cells of a fit group once.
        svm_memory_gb: see `open_pool`.
        instruction_set: that torch computes with on a CPU: ``auto``, or one that the CPU has.
        experiment: name of the experiment of the runs, unless ``mlflow run`` has opened one; None
            is the experiment that MLflow's variables name.
        only: of the cells that the preset and the choices give, the ones to run; None is all.
        tags: further tags of each cell's run.
    """

    preset: str = "quick"
    choices: Choices = field(default_factory=Choices)
    device: str = "auto"
    workers: int | None = None
    scheduler: str | None = None
    data_dir: Path | None = None
    force: bool = False
    retry_failed: bool = False
    checkpoint_s: float = DEFAULT_EVERY_S
    streams: int = 1
    share: bool = True
    svm_memory_gb: float | None = None
    experiment: str | None = None
    only: frozenset[Spec] | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    instruction_set: str = "auto"


class Display(Protocol):
    """Shows a grid while it runs."""

    def log(self, line: str) -> None:
        """Show a line."""

    def start(self, title: str, cells: int, skipped: int, costs: Mapping[str, float]) -> None:
        """Show that a study begins.

        Args:
            title: of the study.
            cells: number of its cells.
            skipped: number of those that are finished already.
            costs: cost of each fit group that is to be computed, by its key, in relative units.
        """

    def progress(self, progress: Progress) -> None:
        """Show the progress of a fit group."""

    def outcome(self, outcome: Outcome) -> None:
        """Show how a cell ended."""

    def stop(self) -> None:
        """Show that the study has ended."""
