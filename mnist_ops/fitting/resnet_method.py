"""The method of networks: the cells of a fit group share one training."""

from collections.abc import Sequence

from mnist_ops.data import Images
from mnist_ops.fitting.determinism import THREADS, reproducible
from mnist_ops.fitting.methods import Work
from mnist_ops.study.model import named
from mnist_ops.study.results import FitResult
from mnist_ops.study.specs import ResNetSpec


@reproducible(THREADS)
def fit(cells: Sequence[ResNetSpec], images: Images, work: Work) -> None:
    """Train once, as long as the longest cell; the shorter ones get their results on the way."""
    # Imported here: costs need no torch, which takes seconds.
    from mnist_ops.fitting.resnet import train

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


def cost(cell: ResNetSpec) -> float:
    """Return the FLOPs of a pass over an image, weighed by the batch size, times epochs."""
    # Who watches a grid does not have a user's network.
    flops = 1 if cell.code else named(cell.model).flops
    # A step has a part that does not shrink with its batch.
    return flops * (1 + 8 / cell.batch_size) * cell.epochs
