"""Figures 6, 7 and 8: the same trainings on a CPU and on a CUDA device."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from plotly import graph_objects as go

from mnist_ops.compare.figures import axes, bars
from mnist_ops.compare.figures.figure import Figure
from mnist_ops.compare.figures.numbers import (
    COMPARED,
    RANGED,
    compared,
    hidden,
    label,
    models_in,
    ranged,
    rows_of,
    spread_note,
    table_of,
    varying,
)
from mnist_ops.compare.figures.style import (
    PRINTED,
    SOFT,
    name_published,
    panels,
    published_marker,
)
from mnist_ops.compare.judged import NOT_JUDGED, Judgements
from mnist_ops.compare.tables.labels import model_label
from mnist_ops.compare.tables.measure import VARIANT
from mnist_ops.compare.tables.table import Table
from mnist_ops.core import keys

from ..looks import colour

ACCURACY = "accuracy_pct"
TIME = "train_time_s"

# Params that are in a configuration's name only where they vary.
_IF_VARYING = (keys.BATCH_SIZE, keys.LEARNING_RATE, keys.EPOCHS, VARIANT)
_SYMBOLS = {"ResNet-18": "square", "ResNet-50": "triangle-up"}
_TIME_TITLE = "Training time (s), logarithmic"


def device_numbers(
    tables: Sequence[Table], quantity: str, judged: Judgements = NOT_JUDGED
) -> pd.DataFrame:
    """Return a row per configuration and device: `quantity` of table 8."""
    table = table_of(tables, 8)
    rows = rows_of(table)
    names = [keys.OPTIMIZER, *varying(rows, _IF_VARYING)]
    found = [
        {
            "configuration": f"{model_label(model)} · {label(row, names)}",
            "model": model_label(model),
            "device": str(row[keys.DEVICE]),
            **ranged(row, name, judged.get((8, place, name))),
        }
        for model in models_in(table, quantity)
        for place, row in enumerate(rows)
        if (name := f"{model}_{quantity}")
    ]
    frame = pd.DataFrame(found, columns=["configuration", "model", "device", *RANGED])
    # Configurations in the order of the table, the devices of each beside each other.
    order = {name: place for place, name in enumerate(dict.fromkeys(frame["configuration"]))}
    places = frame["configuration"].map(order)
    return frame.loc[places.sort_values(kind="stable").index].reset_index(drop=True)


def speedup_numbers(tables: Sequence[Table]) -> pd.DataFrame:
    """Return a row per configuration: CPU time over CUDA time, of table 9."""
    rows = rows_of(table_of(tables, 9))
    names = [keys.OPTIMIZER, *varying(rows, _IF_VARYING)]
    found = [
        {
            "configuration": f"{row[keys.MODEL]} · {label(row, names)}",
            "model": row[keys.MODEL],
            **compared(row, "speedup"),
        }
        for row in rows
    ]
    return pd.DataFrame(found, columns=["configuration", "model", *COMPARED])


def time_figure(tables: Sequence[Table]) -> Figure:
    """Draw figure 6."""
    frame = device_numbers(tables, TIME)
    title = "Training time on CPU and GPU"
    drawing = _panel(title, frame)
    low, high = axes.time_range(axes.ends(frame))
    drawing.update_xaxes(type="log", range=[low, high], dtick=1)
    _name_axis(drawing, 1, _TIME_TITLE, bars.reasons(frame, "device"))
    _bars(drawing, frame, start=10**low, written="%{x:.1f} s", colour=colour)
    return Figure(
        "figure-06",
        title,
        "Dots are measured, hollow diamonds published; one step of the axis is ten times as "
        f"long.{spread_note(frame)}",
        "Dots: training time of each network and optimizer on CPU and CUDA device, on a "
        "logarithmic axis, with the published values as markers.",
        frame,
        drawing,
    )


def accuracy_figure(tables: Sequence[Table], judged: Judgements = NOT_JUDGED) -> Figure:
    """Draw figure 7."""
    frame = device_numbers(tables, ACCURACY, judged)
    title = "Test accuracy on CPU and GPU"
    drawing = _panel(title, frame)
    start, end = axes.percent_range(axes.ends(frame), zero=True)
    drawing.update_xaxes(range=[start, end])
    _name_axis(drawing, 1, axes.percent_title(start), bars.reasons(frame, "device"))
    _bars(drawing, frame, start=start, written="%{x:.2f}%", colour=colour)
    return Figure(
        "figure-07",
        title,
        f"Filled marks are measured, hollow diamonds published.{spread_note(frame)}",
        "Chart of dots or bars: test accuracy of each network and optimizer on CPU and CUDA "
        "device, with the published values as markers.",
        frame,
        drawing,
    )


def combined_numbers(tables: Sequence[Table]) -> pd.DataFrame:
    """Time and accuracy of each configuration and device, then the speed-ups, by ``quantity``."""
    parts = {
        TIME: device_numbers(tables, TIME),
        ACCURACY: device_numbers(tables, ACCURACY),
        "speedup": speedup_numbers(tables).assign(device=""),
    }
    return pd.concat([part.assign(quantity=name) for name, part in parts.items()])[
        ["quantity", "configuration", "model", "device", *COMPARED]
    ].reset_index(drop=True)


def combined_figure(tables: Sequence[Table]) -> Figure:
    """Draw figure 8: accuracy over time, and the speed-up."""
    frame = combined_numbers(tables)
    title = "CPU against GPU: time, accuracy and speed-up"
    speedups = frame[frame["quantity"] == "speedup"].reset_index(drop=True)
    titles = {"Accuracy against training time": 330}
    missing = hidden(speedups)
    if not missing:
        titles["Speed-up, CPU over GPU"] = bars.height(speedups, "configuration", "model")
    drawing = panels(title, list(titles), list(titles.values()), between=96)
    points = _points(frame)
    _scatter(drawing, points)
    low, high = axes.time_range([*points["time"]])
    start, end = axes.percent_range([*points["accuracy"]])
    drawing.update_xaxes(row=1, type="log", range=[low, high], dtick=1)
    _name_axis(drawing, 1, _TIME_TITLE, bars.reasons(frame[frame["quantity"] == TIME], "device"))
    drawing.update_yaxes(row=1, range=[start, end], title_text="Test accuracy (%)")
    if missing:
        name_published(drawing)
        below = f"No speed-up is drawn: {missing}; table 9 has the published ones."
    else:
        _speedups(drawing, speedups)
        below = "Below, bars are measured, diamonds published."
    return Figure(
        "figure-08",
        title,
        "Up and to the left is better; squares are ResNet-18, triangles ResNet-50, filled ones "
        f"measured, hollow ones published. {below}",
        "Scatter plot of test accuracy over training time on CPU and CUDA device, and where it was "
        "measured a bar chart of the speed-up, with the published values as markers.",
        frame,
        drawing,
    )


def _speedups(drawing: go.Figure, speedups: pd.DataFrame) -> None:
    bars.grouped_bars(
        drawing,
        speedups,
        row=2,
        category="configuration",
        series="model",
        start=0,
        written="%{x:.2f}×",
        colour=colour,
    )
    greatest = max([1.0, *speedups["measured"].dropna(), *speedups["published"].dropna()])
    drawing.update_xaxes(row=2, range=[0, greatest * 1.1])
    _name_axis(drawing, 2, "times as fast", [])


def _panel(title: str, frame: pd.DataFrame) -> go.Figure:
    return panels(title, ["FashionMNIST"], [bars.height(frame, "configuration", "device")])


def _name_axis(drawing: go.Figure, row: int, title: str, words: Sequence[str]) -> None:
    """Name a panel's axis, and say below the name which of its series have no value."""
    drawing.update_xaxes(row=row, title_text="<br>".join([title, *words]))


def _bars(drawing: go.Figure, frame: pd.DataFrame, **options: Any) -> None:
    # The name of the axis says why a device has no value.
    told = frame["device"].isin(list(bars.without_values(frame, "device")))
    frame = frame.assign(absent=frame["absent"].mask(told, ""))
    bars.grouped_bars(drawing, frame, row=1, category="configuration", series="device", **options)


def _points(frame: pd.DataFrame) -> pd.DataFrame:
    """Time and accuracy beside each other, measured and published ones as rows of their own."""
    names = ["configuration", "model", "device"]
    time, accuracy = (
        frame[frame["quantity"] == quantity].set_index(names)[["measured", PRINTED]]
        for quantity in (TIME, ACCURACY)
    )
    sides = [
        pd.DataFrame({"time": time[source], "accuracy": accuracy[source]})
        .assign(source=source)
        .dropna()
        for source in ("measured", PRINTED)
    ]
    return pd.concat(sides).reset_index()


def _scatter(drawing: go.Figure, points: pd.DataFrame) -> None:
    for (source, model, device), ours in points.groupby(["source", "model", "device"], sort=False):
        shape = _SYMBOLS.get(str(model), "circle")
        drawing.add_trace(
            go.Scatter(
                mode="markers",
                name=f"{model}, {device}, {source}",
                showlegend=False,
                x=ours["time"].tolist(),
                y=ours["accuracy"].tolist(),
                marker=_marker(str(source), shape, colour(str(device))),
                text=[f"{name}, {device}" for name in ours["configuration"]],
                hovertemplate=f"%{{text}}<br>{source}: %{{x:.1f}} s, %{{y:.2f}}%<extra></extra>",
            ),
            row=1,
            col=1,
        )
    # A trace for each device in the legend, as any of them may have no point.
    for device in dict.fromkeys(points["device"]):
        drawing.add_trace(
            go.Scatter(
                mode="markers",
                name=str(device),
                x=[None],
                y=[None],
                marker={"symbol": "circle", "size": 10, "color": colour(str(device))},
            ),
            row=1,
            col=1,
        )


def _marker(source: str, shape: str, colour: str) -> Mapping[str, Any]:
    if source == PRINTED:
        return published_marker(colour, shape, size=10)
    return {"symbol": shape, "size": 12, "color": colour, "line": {"color": SOFT, "width": 1}}
