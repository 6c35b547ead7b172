"""Figure 4, training time by configuration; and accuracy against training time."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from plotly import graph_objects as go

from mnist_ops.compare import published
from mnist_ops.compare.figures import axes, bars
from mnist_ops.compare.figures.figure import Figure
from mnist_ops.compare.figures.numbers import (
    COMPARED,
    averaged,
    entity,
    hidden,
    label,
    parts,
)
from mnist_ops.compare.figures.style import (
    INK,
    PRINTED,
    name_published,
    panels,
    say_absent,
)
from mnist_ops.compare.runs import STUDY, TIME
from mnist_ops.compare.selection import Selection
from mnist_ops.compare.tables.champion import by_configuration
from mnist_ops.compare.tables.labels import configuration
from mnist_ops.compare.tables.measure import TO_PERCENT, VARIANT, grouped, mean
from mnist_ops.core import keys

from ..looks import colour
from ..printed import PUBLISHED
from ..studies import DATASETS, RESNET_GRID, SVM_GRID
from .scatter import draw_points, error

_NAMES = (keys.OPTIMIZER, keys.BATCH_SIZE, keys.EPOCHS)
_TIME_AXIS = {"type": "log", "dtick": 1, "title_text": "Training time (s), logarithmic"}


def time_numbers(selection: Selection) -> pd.DataFrame:
    """Return a row per data set, model, optimizer, batch size and number of epochs: training times.

    Each value is the mean over learning rate, pin_memory and seed, which do not change the work.
    The published values are those of table 8 for the device of the runs.
    """
    names = (keys.DATASET, keys.MODEL, *_NAMES)
    cells = [c for c in selection.of(RESNET_GRID) if c.params.get(keys.DATASET) in DATASETS]
    groups = grouped(cells, lambda cell: (*cell.key(*names, keys.DEVICE), cell.variant))
    found = []
    for (*values, device, variant), group in groups.items():
        fields = dict(zip(names, values, strict=True))
        printed = PUBLISHED.value(8, published.TRAIN_TIME_S, **fields, device=device)
        found.append(
            {
                "dataset": fields[keys.DATASET],
                "configuration": label(fields | {VARIANT: variant}, (*_NAMES, VARIANT)),
                "model": entity({keys.MODEL: fields[keys.MODEL]}),
                **averaged(group, keys.TRAIN_TIME_S, "" if variant else printed),
            }
        )
    return pd.DataFrame(found, columns=["dataset", "configuration", "model", *COMPARED])


def time_figure(selection: Selection) -> Figure:
    """Draw figure 4."""
    frame = time_numbers(selection)
    title = "Training time by configuration"
    by_dataset = parts(frame, "dataset") or {"": frame}
    drawing = panels(
        title,
        list(by_dataset),
        [bars.height(f, "configuration", "model") for f in by_dataset.values()],
    )
    for row, of_dataset in enumerate(by_dataset.values(), start=1):
        ends = axes.with_spread(of_dataset["measured"], of_dataset["std"])
        low, high = axes.time_range([*ends, *of_dataset["published"]])
        bars.grouped_bars(
            drawing,
            of_dataset,
            row=row,
            category="configuration",
            series="model",
            start=10**low,
            written="%{x:.1f} s",
            colour=colour,
        )
        if of_dataset.empty:
            say_absent(drawing, hidden(of_dataset), row)
        drawing.update_xaxes(row=row, range=[low, high], **_TIME_AXIS)
    return Figure(
        "figure-04",
        title,
        "Dots are the mean over learning rates, pin_memory and seeds, error bars the standard "
        "deviation; hollow diamonds are published (table 8 has the study's only network times)."
        + _whose_times(selection),
        "Dots: training time of each network by optimizer, batch size and epochs on a "
        "logarithmic axis, a panel a data set.",
        frame,
        drawing,
    )


def _whose_times(selection: Selection) -> str:
    """Return sentences on times that are attributed or shared."""
    of_grid = selection.runs[selection.runs[STUDY] == RESNET_GRID]
    counts = of_grid[TIME].value_counts()
    text = ""
    if count := counts.get(keys.TIME_ATTRIBUTED):
        text += (
            f" {count} of the {len(of_grid)} times are attributed: those cells are part of another "
            "cell's training."
        )
    if count := counts.get(keys.TIME_SHARED):
        text += f" {count} are of trainings side by side on one CUDA device: longer than alone."
    return text


def frontier_numbers(selection: Selection) -> pd.DataFrame:
    """Return a row per configuration and per published pair: training time and accuracy.

    ``is_optimal`` marks the measured Pareto front of a data set: no other configuration is at
    least as accurate in less time.
    """
    cells = [
        cell
        for study in (RESNET_GRID, SVM_GRID)
        for cell in selection.of(study)
        if cell.finished and cell.params.get(keys.DATASET) in DATASETS
    ]
    found: list[dict[str, Any]] = []
    for group in by_configuration(cells):
        params = group[0].params
        time = mean(group, keys.TRAIN_TIME_S)
        accuracy = mean(group, keys.TEST_ACCURACY, TO_PERCENT)
        if not isinstance(time, str) and not isinstance(accuracy, str):
            found.append(
                _point("measured", params, configuration(params, group[0].variant), time, accuracy)
            )
    for table in (5, 6, 8):
        for fields in PUBLISHED.rows(table, *_PRINTED):
            params = dict(zip(_PRINTED, fields, strict=True))
            params = {name: value for name, value in params.items() if value is not None}
            time = PUBLISHED.value(table, published.TRAIN_TIME_S, **params)
            accuracy = PUBLISHED.value(table, published.ACCURACY, **params)
            if not isinstance(time, str) and not isinstance(accuracy, str):
                device = str(params.get(keys.DEVICE, "")).upper()
                text = ", ".join(t for t in (configuration(params), device) if t)
                found.append(_point(PRINTED, params, text, time, accuracy))
    frame = pd.DataFrame(found, columns=_COLUMNS)
    return frame.assign(is_optimal=_optimal(frame))


_PRINTED = (
    keys.DATASET,
    keys.MODEL,
    keys.BATCH_SIZE,
    keys.OPTIMIZER,
    keys.LEARNING_RATE,
    keys.EPOCHS,
    keys.DEVICE,
    keys.KERNEL,
    keys.C,
    keys.GAMMA,
)
_COLUMNS = ["source", "dataset", "model", "configuration", "time_s", "accuracy_pct"]


def frontier_figure(selection: Selection) -> Figure:
    """Draw accuracy against training time."""
    frame = frontier_numbers(selection)
    title = "Accuracy against training time"
    drawing = panels(title, DATASETS, [330] * len(DATASETS))
    in_legend: set[str] = set()
    for row, dataset in enumerate(DATASETS, start=1):
        panel = frame[frame["dataset"] == dataset]
        front = panel[panel["is_optimal"]].sort_values("time_s")
        drawing.add_trace(
            go.Scatter(
                mode="lines",
                name="Pareto front",
                legendgroup="front",
                showlegend=row == 1,
                # Empty traces are not in the legend, which is the first panel's.
                x=front["time_s"].tolist() or [None],
                y=error(front["accuracy_pct"]) if len(front) else [None],
                line={"color": INK, "width": 1.5, "shape": "hv"},
                hoverinfo="skip",
            ),
            row=row,
            col=1,
        )
        low, high = draw_points(drawing, row, panel, "time_s", "%{x:.3g} s", in_legend)
        drawing.update_xaxes(row=row, range=[low, high], **_TIME_AXIS)
    name_published(drawing)
    return Figure(
        "accuracy-against-time",
        title,
        "A point a configuration, up and to the left is better: the axis is of the test error, "
        "100% less the accuracy. On the line: no other measured "
        "configuration is as accurate in less time. Filled markers are measured, hollow ones "
        "published.",
        "Scatter plot of test accuracy over training time for networks and support vector "
        "machines, a panel a data set, with the Pareto front of the measured ones.",
        frame,
        drawing,
    )


def _point(
    source: str, params: Mapping[str, Any], text: str, time: float, accuracy: float
) -> dict[str, Any]:
    return {
        "source": source,
        "dataset": params[keys.DATASET],
        "model": entity(params),
        "configuration": text,
        "time_s": time,
        "accuracy_pct": accuracy,
    }


def _optimal(frame: pd.DataFrame) -> list[bool]:
    """Return whether a row is on the measured Pareto front of its data set."""
    measured = frame[frame["source"] == "measured"]
    optimal: set[object] = set()
    for _, rows in measured.groupby("dataset"):
        best = -1.0
        # The quickest first; of equally quick ones the most accurate.
        for place, row in rows.sort_values(
            ["time_s", "accuracy_pct"], ascending=[True, False]
        ).iterrows():
            if row["accuracy_pct"] > best:
                best = row["accuracy_pct"]
                optimal.add(place)
    return [place in optimal for place in frame.index]
