"""Figure 5: support vector machines by kernel, C and gamma."""

from collections.abc import Sequence

import pandas as pd
from plotly import graph_objects as go

from mnist_ops.compare.figures import axes
from mnist_ops.compare.figures.figure import Figure
from mnist_ops.compare.figures.numbers import (
    COMPARED,
    compared,
    hidden,
    repeated,
    rows_of,
    spread_note,
    table_of,
)
from mnist_ops.compare.figures.style import (
    PRINTED,
    name_published,
    panel_grid,
    published_marker,
    say_absent,
)
from mnist_ops.compare.tables.table import Table
from mnist_ops.core import keys

from ..looks import colour

_TABLES = {"MNIST": 5, "FashionMNIST": 6}
# Quantity in the tables -> how its axis is called.
_QUANTITIES = {
    "accuracy_pct": "Accuracy (%)",
    "f1": "F1, weighted",
    keys.TRAIN_TIME_S: "Training time (s)",
}
_DASHES = {"scale": "solid", "auto": "dot"}
_FEATURES = (keys.KERNEL, keys.C, keys.GAMMA)


def svm_numbers(tables: Sequence[Table]) -> pd.DataFrame:
    """Return a row per quantity, data set and configuration, of tables 5 and 6."""
    found = [
        {
            "quantity": quantity,
            "dataset": dataset,
            **{name: row[name] for name in _FEATURES},
            **compared(row, quantity),
        }
        for quantity in _QUANTITIES
        for dataset, number in _TABLES.items()
        for row in rows_of(table_of(tables, number))
        # Variants are left out, as a line has one value for each C.
        if not row.get("variant")
    ]
    return pd.DataFrame(found, columns=["quantity", "dataset", *_FEATURES, *COMPARED])


def svm_figure(tables: Sequence[Table]) -> Figure:
    """Draw figure 5."""
    frame = svm_numbers(tables)
    title = "Support vector machines by kernel, C and gamma"
    drawing = panel_grid(title, list(_TABLES), len(_QUANTITIES), 220)
    for row, (quantity, name) in enumerate(_QUANTITIES.items(), start=1):
        of_row = frame[frame["quantity"] == quantity]
        for column, dataset in enumerate(_TABLES, start=1):
            panel = of_row[of_row["dataset"] == dataset]
            _lines(drawing, panel, row, column)
            if word := hidden(panel):
                say_absent(drawing, word, row, column)
        drawing.update_yaxes(row=row, col=1, title_text=name)
        if quantity == keys.TRAIN_TIME_S:
            ends = axes.with_spread(of_row["measured"], of_row["std"])
            low, high = axes.time_range([*ends, *of_row["published"]])
            drawing.update_yaxes(row=row, type="log", range=[low, high], dtick=1)
    name_published(drawing)
    values = sorted({float(c) for c in frame[keys.C]})
    drawing.update_xaxes(
        type="category", categoryorder="array", categoryarray=[f"{c:g}" for c in values]
    )
    drawing.update_xaxes(row=len(_QUANTITIES), title_text="C")
    return Figure(
        "figure-05",
        title,
        "Lines are measured, hollow diamonds published; dotted lines and small diamonds are gamma "
        f"auto, which on standardised FashionMNIST is the same as scale.{spread_note(frame)}",
        "Line charts over C: test accuracy, weighted F1 and training time of each kernel and "
        "gamma, a column a data set, with the published values as markers.",
        frame,
        drawing,
    )


def _lines(drawing: go.Figure, panel: pd.DataFrame, row: int, column: int) -> None:
    first = (row, column) == (1, 1)
    lines = panel.groupby([keys.KERNEL, keys.GAMMA], sort=False)
    spread = repeated(panel)
    for (kernel, gamma), line in lines:
        name = f"{kernel}, {gamma}"
        drawing.add_trace(
            go.Scatter(
                mode="lines+markers",
                name=name,
                legendgroup=name,
                showlegend=first,
                x=[f"{float(c):g}" for c in line[keys.C]],
                y=[None if pd.isna(v) else v for v in line["measured"].tolist()],
                line={
                    "color": colour(f"SVM {kernel}"),
                    "width": 2,
                    "dash": _DASHES.get(str(gamma), "dash"),
                },
                marker={"size": 6},
                error_y=axes.error_bars(line["std"], thickness=1, width=3) if spread else None,
                hovertemplate=f"{name}, C=%{{x}}<br>measured %{{y:.4g}}<extra></extra>",
            ),
            row=row,
            col=column,
        )
    for (kernel, gamma), line in lines:
        printed = line[line[PRINTED].notna()]
        if printed.empty:
            continue
        small = 6 if gamma == "auto" else 10
        drawing.add_trace(
            go.Scatter(
                mode="markers",
                showlegend=False,
                x=[f"{float(c):g}" for c in printed[keys.C]],
                y=printed[PRINTED].tolist(),
                marker=published_marker(colour(f"SVM {kernel}"), size=small),
                hovertemplate=f"{kernel}, {gamma}, C=%{{x}}<br>published %{{y:.4g}}<extra></extra>",
            ),
            row=row,
            col=column,
        )
