"""The paper's figures and further ones: each has its numbers, then a drawing of them."""

from mnist_ops.compare.figures.agreement import agreement_figure
from mnist_ops.compare.figures.confusion import confusion_figure
from mnist_ops.compare.figures.figure import Figure
from mnist_ops.compare.judged import judgements
from mnist_ops.compare.results import Results, Source
from mnist_ops.compare.tables.champion import champion
from mnist_ops.core import keys

from ..printed import PUBLISHED
from ..studies import DATASETS, RESNET_GRID
from ..tables import TABLES
from . import accuracy, devices, heatmaps, svms, times
from .complexity import flops_figure
from .learning import learning_figure


def figures(results: Results, source: Source) -> list[Figure]:
    """Return figures 1 to 8, then further ones for which there are numbers."""
    selection, tables = results.selection, results.tables
    judged = judgements(TABLES, PUBLISHED.numbers, tables, results.agreement)
    further = [
        learning_figure(selection, source.history),
        times.frontier_figure(selection),
        *(
            confusion_figure(
                champion(selection, RESNET_GRID, dataset, keys.VAL_ACCURACY), dataset, source
            )
            for dataset in DATASETS
        ),
        flops_figure(selection),
        agreement_figure(results.agreement),
    ]
    return [
        accuracy.accuracy_figure(tables, judged),
        *(heatmaps.heatmap_figure(selection, dataset) for dataset in DATASETS),
        accuracy.models_figure(tables, judged),
        times.time_figure(selection),
        svms.svm_figure(tables),
        devices.time_figure(tables),
        devices.accuracy_figure(tables, judged),
        devices.combined_figure(tables),
        *(figure for figure in further if figure is not None),
    ]
