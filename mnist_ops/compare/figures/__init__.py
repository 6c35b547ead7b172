"""The study's figures and those beyond it: numbers first, then a drawing of them."""

from collections.abc import Sequence

import pandas as pd

from mnist_ops.compare.figures import accuracy, devices, heatmaps, svms, times
from mnist_ops.compare.figures.agreement import agreement_figure
from mnist_ops.compare.figures.complexity import flops_figure
from mnist_ops.compare.figures.confusion import Pixels, confusion_figure
from mnist_ops.compare.figures.export import FORMATS, export
from mnist_ops.compare.figures.figure import Figure
from mnist_ops.compare.figures.learning import History, learning_figure
from mnist_ops.compare.predictions import PredictionsOf
from mnist_ops.compare.selection import Selection
from mnist_ops.compare.tables import Table

__all__ = ["FORMATS", "Figure", "all_figures", "export"]


def all_figures(
    selection: Selection,
    tables: Sequence[Table],
    agreement: pd.DataFrame,
    history: History,
    predictions: PredictionsOf,
    pixels: Pixels | None = None,
) -> list[Figure]:
    """Figures 1 to 8, then those beyond the study for which there is anything to draw.

    Args:
        selection: the cells.
        tables: tables 1 to 11.
        agreement: one row a published number, as the comparison of all of them has it.
        history: of a run's metric, by step.
        predictions: of a run.
        pixels: of images; None where there are none at hand, and no example is shown.
    """
    beyond = [
        learning_figure(selection, history),
        times.frontier_figure(selection),
        confusion_figure(selection, "MNIST", predictions, pixels),
        confusion_figure(selection, "FashionMNIST", predictions, pixels),
        flops_figure(selection),
        agreement_figure(agreement),
    ]
    return [
        accuracy.accuracy_figure(tables),
        heatmaps.heatmap_figure(selection, "MNIST"),
        heatmaps.heatmap_figure(selection, "FashionMNIST"),
        accuracy.models_figure(tables),
        times.time_figure(selection),
        svms.svm_figure(tables),
        devices.time_figure(tables),
        devices.accuracy_figure(tables),
        devices.combined_figure(tables),
        *(figure for figure in beyond if figure is not None),
    ]
