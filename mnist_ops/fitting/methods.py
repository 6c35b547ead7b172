"""Fit the cells of a fit group by their method, as workers, refits and checks do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mnist_ops.data import Images
from mnist_ops.fitting.checkpoints import Checkpoint
from mnist_ops.study import lookup
from mnist_ops.study.method import method_of
from mnist_ops.study.results import FitResult, OnEpoch
from mnist_ops.study.specs import Spec


@dataclass(frozen=True)
class Work:
    """What a fit reports to, goes on from, and is stopped by.

    Attributes:
        on_result: called with each cell and its result, as soon as it is there.
        on_epoch: called after each epoch of a training.
        checkpoint: where a training goes on from, and saves to; None is nowhere.
        stop: asked between two steps whether to save and leave.
        keep_model: whether the results have the fitted models.
    """

    on_result: Callable[[Spec, FitResult], None]
    on_epoch: OnEpoch = lambda epoch: None
    checkpoint: Checkpoint | None = None
    stop: Callable[[], bool] = lambda: False
    keep_model: bool = False


def fit(cells: Sequence[Spec], images: Images, work: Work) -> None:
    """Fit `cells`, which one fit serves, in their order.

    Raises:
        InvalidInput, TooManyImages, TrainingDiverged, Stopped, DiskFull: as the fits do.
    """
    lookup.load(method_of(cells[0]).fit)(cells, images, work)


def fit_one(cell: Spec, images: Images, keep_model: bool, on_step: Callable[[], None]) -> FitResult:
    """Fit `cell` alone, as a worker does, and return its result.

    Args:
        cell: its spec.
        images: its pooled data set.
        keep_model: whether the result has the fitted model.
        on_step: called between two steps of a training.

    Raises:
        InvalidInput, TooManyImages, TrainingDiverged: as the fits do.
    """
    results: list[FitResult] = []

    def stop() -> bool:
        """Return False: it is asked between two steps, and never is it time to stop."""
        on_step()
        return False

    def keep(cell: Spec, result: FitResult) -> None:
        results.append(result)

    fit([cell], images, Work(keep, stop=stop, keep_model=keep_model))
    return results[0]


def cost(cell: Spec) -> float:
    """Return what a fit of `cell` costs, in units that only compare within its method."""
    return float(lookup.load(method_of(cell).cost)(cell))


def check(cell: Spec) -> None:
    """Raise `InvalidInput` where the model of `cell` does not fit its data set."""
    if found := method_of(cell).check:
        lookup.load(found)(cell)
