"""Accuracy against FLOPs, across networks and support vector machines."""

from typing import Any

import pandas as pd

from mnist_ops.compare import published
from mnist_ops.compare.figures.figure import Figure
from mnist_ops.compare.figures.numbers import entity, number
from mnist_ops.compare.figures.style import (
    PRINTED,
    name_published,
    panels,
)
from mnist_ops.compare.selection import Selection
from mnist_ops.compare.tables.champion import by_configuration
from mnist_ops.compare.tables.labels import configuration
from mnist_ops.compare.tables.measure import TO_PERCENT, mean
from mnist_ops.core import keys

from ..printed import PUBLISHED
from ..studies import DATASETS, RESNET_GRID, SVM_GRID
from .scatter import draw_points

_COLUMNS = ["source", "dataset", "model", "configuration", "flops", "accuracy_pct"]


def flops_numbers(selection: Selection) -> pd.DataFrame:
    """Return a row per configuration and per published value: FLOPs for one image, accuracy."""
    cells = [c for study in (RESNET_GRID, SVM_GRID) for c in selection.of(study) if c.finished]
    found: list[dict[str, Any]] = []
    for group in by_configuration(cells):
        params = group[0].params
        found.append(
            {
                "source": "measured",
                "dataset": params.get(keys.DATASET),
                "model": entity(params),
                "configuration": configuration(params, group[0].variant),
                "flops": number(mean(group, keys.FLOPS)),
                "accuracy_pct": number(mean(group, keys.TEST_ACCURACY, TO_PERCENT)),
            }
        )
    for printed in PUBLISHED.numbers:
        if printed.table in (2, 3) and printed.metric == published.ACCURACY:
            model = printed.fields[keys.MODEL]
            found.append(
                {
                    "source": PRINTED,
                    "dataset": printed.fields[keys.DATASET],
                    "model": entity(printed.fields),
                    "configuration": configuration(printed.fields),
                    "flops": number(PUBLISHED.value(10, published.FLOPS, model=model)),
                    "accuracy_pct": printed.value,
                }
            )
    frame = pd.DataFrame(found, columns=_COLUMNS)
    return frame.dropna(subset=["flops", "accuracy_pct"]).reset_index(drop=True)


def flops_figure(selection: Selection) -> Figure:
    """Draw accuracy against FLOPs."""
    frame = flops_numbers(selection)
    title = "Accuracy against FLOPs"
    drawing = panels(title, DATASETS, [300] * len(DATASETS))
    in_legend: set[str] = set()
    for row, dataset in enumerate(DATASETS, start=1):
        panel = frame[frame["dataset"] == dataset]
        low, high = draw_points(drawing, row, panel, "flops", "%{x:.3s} FLOPs", in_legend)
        drawing.update_xaxes(
            row=row,
            type="log",
            range=[low, high],
            dtick=1,
            tickformat="~s",
            title_text="FLOPs for one image, logarithmic",
        )
    name_published(drawing)
    return Figure(
        "accuracy-against-flops",
        title,
        "A point a configuration, up is better: the axis is of the test error, 100% less the "
        "accuracy. The FLOPs of an SVM are its kernel evaluations for one image and "
        "grow with its support vectors. Filled markers are measured, hollow ones published.",
        "Scatter plot of test accuracy over the FLOPs that one image takes, for networks and "
        "support vector machines, a panel a data set.",
        frame,
        drawing,
    )
