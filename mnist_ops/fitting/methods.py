"""Fit the cells of a fit group by their method, as workers, refits and checks do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mnist_ops.data import Images
from mnist_ops.fitting import svm
from mnist_ops.fitting.checkpoints import Checkpoint
from mnist_ops.fitting.resnet import models, train
from mnist_ops.study import lookup
from mnist_ops.study.method import method_of
from mnist_ops.study.results import FitResult, OnEpoch
from mnist_ops.study.specs import ResNetSpec, Spec, SvmSpec


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


def cost(cell: Spec) -> float:
    """Return what a fit of `cell` costs, in units that only compare within its method."""
    return float(lookup.load(method_of(cell).cost)(cell))


def fit_resnet(cells: Sequence[ResNetSpec], images: Images, work: Work) -> None:
    """Train once, as long as the longest cell; the shorter ones get their results on the way."""

    def on_result(epochs: int, result: FitResult) -> None:
        for cell in cells:
            if cell.epochs == epochs:
                work.on_result(cell, result)

    results = train.fit(
        cells[0],
        images,
        work.on_epoch,
        {cell.epochs for cell in cells},
        on_result=(lambda epochs, result: None) if work.keep_model else on_result,
        checkpoint=work.checkpoint,
        stop=work.stop,
        keep_state=work.keep_model,
    )
    if work.keep_model:
        # The weights are there at the end only.
        for epochs, result in results.items():
            on_result(epochs, result)


def resnet_cost(cell: ResNetSpec) -> float:
    """Return operations of the training images' pass, weighed by the batch size, times epochs."""
    # A step has a part that does not shrink with its batch.
    per_image = models.complexity(cell.model, cell.data).flops * (1 + 8 / cell.batch_size)
    return per_image * cell.epochs


def fit_svm(cells: Sequence[SvmSpec], images: Images, work: Work) -> None:
    """Fit classifiers that share inner products together; each has a solution of its own."""
    for cell, result in zip(cells, svm.fit_all(cells, images), strict=True):
        model = svm.to_estimator(cell, images) if work.keep_model else None
        work.on_result(cell, replace(result, state=model))


def svm_cost(cell: SvmSpec) -> float:
    """Return 2 for a polynomial kernel, which leaves more support vectors, and 1 for others."""
    return 2.0 if cell.kernel == "poly" else 1.0
