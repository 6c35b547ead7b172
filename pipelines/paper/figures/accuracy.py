"""Figures 1 and 3: test accuracy of the networks over their configurations."""

from collections.abc import Sequence

import pandas as pd
from plotly import graph_objects as go

from mnist_ops.compare.figures import axes, bars
from mnist_ops.compare.figures.figure import Figure
from mnist_ops.compare.figures.numbers import (
    COMPARED,
    compared,
    hidden,
    label,
    models_in,
    parts,
    rows_of,
    spread_note,
    table_of,
    varying,
)
from mnist_ops.compare.figures.style import (
    INK,
    PRINTED,
    SOFT,
    panels,
    published_marker,
    say_absent,
)
from mnist_ops.compare.tables.labels import model_label
from mnist_ops.compare.tables.measure import VARIANT
from mnist_ops.compare.tables.table import Table
from mnist_ops.core import keys

from ..looks import colour, symbol

_TABLES = {"MNIST": 2, "FashionMNIST": 3}
_QUANTITY = "accuracy_pct"
_NAMES = (keys.OPTIMIZER, keys.LEARNING_RATE, keys.BATCH_SIZE)


def accuracy_numbers(tables: Sequence[Table]) -> pd.DataFrame:
    """Return a row per data set, configuration and model, of tables 2 and 3."""
    found = []
    for dataset, number in _TABLES.items():
        table = table_of(tables, number)
        rows = rows_of(table)
        names = [*_NAMES, *varying(rows, (keys.EPOCHS, VARIANT))]
        for row in rows:
            for model in models_in(table, _QUANTITY):
                found.append(
                    {
                        "dataset": dataset,
                        "configuration": label(row, names),
                        "model": model_label(model),
                        **compared(row, f"{model}_{_QUANTITY}"),
                    }
                )
    return pd.DataFrame(found, columns=["dataset", "configuration", "model", *COMPARED])


def accuracy_figure(tables: Sequence[Table]) -> Figure:
    """Draw figure 1."""
    frame = accuracy_numbers(tables)
    title = "Test accuracy by configuration"
    by_dataset = parts(frame, "dataset")
    drawing = panels(
        title,
        list(by_dataset),
        [bars.height(f, "configuration", "model") for f in by_dataset.values()],
    )
    for row, of_dataset in enumerate(by_dataset.values(), start=1):
        ends = axes.with_spread(of_dataset["measured"], of_dataset["std"])
        start, end = axes.percent_range([*ends, *of_dataset["published"]], zero=True)
        bars.grouped_bars(
            drawing,
            of_dataset,
            row=row,
            category="configuration",
            series="model",
            start=start,
            written="%{x:.2f}%",
            colour=colour,
        )
        drawing.update_xaxes(row=row, range=[start, end], title_text=axes.percent_title(start))
    return Figure(
        "figure-01",
        title,
        "Bars are measured, hollow diamonds published. A configuration is optimizer, learning rate "
        f"and batch size (bs); pin_memory is chosen on validation.{spread_note(frame)}",
        "Bar chart: test accuracy of each network in each configuration of optimizer, learning "
        "rate and batch size, a panel a data set, with the published values as markers.",
        frame,
        drawing,
    )


def models_numbers(tables: Sequence[Table]) -> pd.DataFrame:
    """Return a row per data set and configuration: ResNet-18 beside ResNet-50, in percent."""
    frame = accuracy_numbers(tables)
    keys_ = ["dataset", "configuration"]
    small, large = (
        frame[frame["model"] == model].drop(columns="model").set_index(keys_)
        for model in ("ResNet-18", "ResNet-50")
    )
    both = small.join(large, how="inner", lsuffix="_18", rsuffix="_50").reset_index()
    names = [f"{name}_{depth}" for depth in ("18", "50") for name in COMPARED]
    return both[[*keys_, *names]]


def models_figure(tables: Sequence[Table]) -> Figure:
    """Draw figure 3."""
    frame = models_numbers(tables)
    title = "ResNet-18 against ResNet-50"
    by_dataset = parts(frame, "dataset")
    drawing = panels(title, list(by_dataset), [330] * len(by_dataset))
    for row, (dataset, of_dataset) in enumerate(by_dataset.items(), start=1):
        sides = [c for c in frame.columns if c.startswith(("measured_", "published_"))]
        values = of_dataset[sides].to_numpy(dtype="float64").ravel().tolist()
        start, end = axes.percent_range(values)
        drawing.add_trace(
            go.Scatter(
                mode="lines",
                x=[start, end],
                y=[start, end],
                line={"color": SOFT, "width": 1, "dash": "dot"},
                name="equal",
                legendgroup="equal",
                showlegend=row == 1,
                hoverinfo="skip",
            ),
            row=row,
            col=1,
        )
        shape = symbol(str(dataset))
        markers = {
            "measured": {"symbol": shape, "size": 10, "color": INK},
            PRINTED: published_marker(symbol=shape),
        }
        for source, marker in markers.items():
            ours = of_dataset.dropna(subset=[f"{source}_18", f"{source}_50"])
            drawing.add_trace(
                go.Scatter(
                    mode="markers",
                    name=source,
                    showlegend=row == 1,
                    legendgroup=source,
                    x=ours[f"{source}_18"].tolist(),
                    y=ours[f"{source}_50"].tolist(),
                    marker=marker,
                    error_x=_bars(ours, "18") if source == "measured" else None,
                    error_y=_bars(ours, "50") if source == "measured" else None,
                    text=ours["configuration"].tolist(),
                    hovertemplate=f"%{{text}}<br>{source}: ResNet-18 %{{x:.2f}}%, "
                    "ResNet-50 %{y:.2f}%<extra></extra>",
                ),
                row=row,
                col=1,
            )
        measured = of_dataset.rename(columns={"measured_18": "measured", "absent_18": "absent"})
        if word := hidden(measured):
            say_absent(drawing, word, row)
        drawing.update_xaxes(row=row, range=[start, end], title_text="ResNet-18 (%)")
        drawing.update_yaxes(row=row, range=[start, end], title_text="ResNet-50 (%)")
    return Figure(
        "figure-03",
        title,
        "Test accuracy of the two networks in the same configuration: below the diagonal "
        "ResNet-18 is better. Filled markers are measured, hollow ones published.",
        "Scatter plot: test accuracy of ResNet-50 over that of ResNet-18, a point a "
        "configuration, with the diagonal on which both are equal.",
        frame,
        drawing,
    )


def _bars(frame: pd.DataFrame, depth: str) -> dict[str, object] | None:
    if not (frame[f"n_{depth}"] > 1).any():
        return None
    return axes.error_bars(frame[f"std_{depth}"], color=SOFT, thickness=1, width=0)
