"""Learning curves: training loss and validation accuracy over the epochs."""

import dataclasses
from statistics import fmean
from typing import Any

import pandas as pd
from plotly import graph_objects as go

from mnist_ops.compare.cells import Cell
from mnist_ops.compare.figures import axes
from mnist_ops.compare.figures.figure import Figure
from mnist_ops.compare.figures.style import SOFT, panel_grid, say_absent
from mnist_ops.compare.results import History
from mnist_ops.compare.selection import Selection
from mnist_ops.compare.tables.champion import champion
from mnist_ops.compare.tables.measure import TO_PERCENT, models_of
from mnist_ops.core import keys

from ..looks import colour
from ..printed import PUBLISHED
from ..studies import DATASETS, RESNET_GRID

_METRICS = {keys.TRAIN_LOSS: "Training loss", keys.VAL_ACCURACY: "Validation accuracy (%)"}
_OTHERS = "other configurations"
_BAND = "rgba(127,127,127,0.22)"
_COLUMNS = ["dataset", "metric", "line", "configuration", "epoch", "value", "low", "high"]


def learning_numbers(selection: Selection, history: History) -> pd.DataFrame:
    """Return a row per data set, metric, line and epoch.

    A line is the champion of a model, chosen on validation, the mean over its seeds; and the band
    between the lowest and the highest of the other configurations, which has no value. Each of
    those is asked for once, without pinned memory and at one seed: a store is asked for every
    curve on its own.
    """
    found: list[dict[str, Any]] = []
    for dataset in DATASETS:
        cells = [c for c in selection.of(RESNET_GRID) if c.params.get(keys.DATASET) == dataset]
        chosen: list[Cell] = []
        for model in models_of(PUBLISHED, 2, cells):
            of_model = tuple(c for c in cells if c.params.get(keys.MODEL) == model)
            best = champion(
                dataclasses.replace(selection, cells=of_model),
                RESNET_GRID,
                dataset,
                keys.VAL_ACCURACY,
            )
            if best.text and best.model:
                chosen += best.cells
                for metric in _METRICS:
                    line = {"dataset": dataset, "metric": metric, "line": best.model}
                    found += [
                        {**line, "configuration": best.text, "epoch": epoch, "value": fmean(values)}
                        for epoch, values in _curves(history, list(best.cells), metric).items()
                    ]
        others = _others(cells, chosen)
        for metric in _METRICS:
            line = {"dataset": dataset, "metric": metric, "line": _OTHERS, "configuration": ""}
            found += [
                {**line, "epoch": epoch, "low": min(values), "high": max(values)}
                for epoch, values in _curves(history, others, metric).items()
            ]
    return pd.DataFrame(found, columns=_COLUMNS)


def learning_figure(selection: Selection, history: History) -> Figure | None:
    """Learning curves; None where no run has logged any."""
    frame = learning_numbers(selection, history)
    if frame.empty:
        return None
    title = "Learning curves"
    drawing = panel_grid(title, DATASETS, len(_METRICS), 250)
    in_legend: set[str] = set()
    for row, (metric, name) in enumerate(_METRICS.items(), start=1):
        of_metric = frame[frame["metric"] == metric]
        for column, dataset in enumerate(DATASETS, start=1):
            panel = of_metric[of_metric["dataset"] == dataset]
            if panel.empty:
                say_absent(drawing, "no curves", row, column)
            # The band first, below the lines.
            for line in sorted(panel["line"].unique(), key=lambda text: text != _OTHERS):
                points = panel[panel["line"] == line].sort_values("epoch")
                trace = _band(points) if line == _OTHERS else _line(points, str(line))
                trace.update(legendgroup=line, showlegend=line not in in_legend)
                drawing.add_trace(trace, row=row, col=column)
                in_legend.add(str(line))
        if metric == keys.VAL_ACCURACY:
            ends = of_metric[["value", "low", "high"]].to_numpy(dtype="float64").ravel()
            drawing.update_yaxes(row=row, range=axes.percent_range(ends.tolist()))
        else:
            drawing.update_yaxes(row=row, rangemode="tozero")
        drawing.update_yaxes(row=row, col=1, title_text=name)
    drawing.update_xaxes(dtick=1)
    drawing.update_xaxes(row=len(_METRICS), title_text="Epoch")
    return Figure(
        "learning-curves",
        title,
        "Lines are the best configuration of each network, chosen on validation, the mean over "
        "its seeds; the band spans the other configurations without pinned memory.",
        "Line charts of training loss and validation accuracy over epochs, a column a data set: "
        "the best configuration of each network, and a band for the others.",
        frame,
        drawing,
    )


def _curves(history: History, cells: list[Cell], metric: str) -> dict[int, list[float]]:
    """Return the values of all cells by epoch, accuracies in percent."""
    scale = TO_PERCENT if metric == keys.VAL_ACCURACY else 1
    values: dict[int, list[float]] = {}
    for cell in cells:
        if cell.finished and cell.run_id:
            for step, value in history(cell.run_id, metric):
                values.setdefault(step, []).append(value * scale)
    return dict(sorted(values.items()))


def _others(cells: list[Cell], chosen: list[Cell]) -> list[Cell]:
    finished = [c for c in cells if c.finished and c not in chosen]
    seed = min((c.params.get(keys.SEED, 0) for c in finished), default=0)
    return [
        c
        for c in finished
        if c.params.get(keys.SEED, 0) == seed and not c.params.get(keys.PIN_MEMORY)
    ]


def _line(points: pd.DataFrame, name: str) -> go.Scatter:
    return go.Scatter(
        mode="lines+markers",
        name=name,
        x=points["epoch"].tolist(),
        y=points["value"].tolist(),
        line={"color": colour(name), "width": 2.5},
        marker={"size": 6},
        text=points["configuration"].tolist(),
        hovertemplate=f"{name}, %{{text}}<br>epoch %{{x}}: %{{y:.4g}}<extra></extra>",
    )


def _band(points: pd.DataFrame) -> go.Scatter:
    """Return a closed area from the lowest values to the highest and back."""
    epochs = points["epoch"].tolist()
    return go.Scatter(
        mode="lines",
        name=_OTHERS,
        x=epochs + epochs[::-1],
        y=points["high"].tolist() + points["low"].tolist()[::-1],
        fill="toself",
        fillcolor=_BAND,
        line={"color": SOFT, "width": 0},
        hoverinfo="skip",
    )
