"""Points of configurations, measured and published, in the panel of a data set."""

import math
from collections.abc import MutableSet

import pandas as pd
from plotly import graph_objects as go

from mnist_ops.compare.figures import axes
from mnist_ops.compare.figures.style import PRINTED, published_marker, say_absent

from ..looks import colour, symbol

_SIZE = 8
# Percent: what an error of zero is drawn at, and the ticks of the axis.
_LEAST = 0.2
_TICKS = (0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)


def error(accuracies: "pd.Series[float]") -> list[float]:
    """Return the test errors in percent."""
    return [max(100.0 - accuracy, _LEAST) for accuracy in accuracies]


def draw_points(
    drawing: go.Figure,
    row: int,
    panel: pd.DataFrame,
    column: str,
    hover: str,
    in_legend: MutableSet[str],
) -> tuple[float, float]:
    """Draw the test error of each configuration of a data set over another of its numbers.

    The error is logarithmic and runs down, so that up is better: nearly all accuracies lie close
    to 100%, and would lie on each other.

    Args:
        drawing: the figure.
        row: of the panel, from 1.
        panel: rows of one data set, with the columns ``source``, ``dataset``, ``model``,
            ``configuration``, ``accuracy_pct`` and `column`.
        column: what the x axis shows.
        hover: plotly's format and the unit of an x value, as ``%{x:.3g} s``.
        in_legend: names that the legend has; those of this panel are added.

    Returns:
        The range of a logarithmic x axis, as powers of ten.
    """
    for (source, model), points in panel.groupby(["source", "model"], sort=False):
        measured = source == "measured"
        name = str(model) if measured else f"{model}, {PRINTED}"
        tint, mark = colour(str(model)), symbol(str(points["dataset"].iloc[0]))
        filled = {"color": tint, "symbol": mark, "size": _SIZE, "opacity": 0.8}
        drawing.add_trace(
            go.Scatter(
                mode="markers",
                name=name,
                legendgroup=name,
                showlegend=measured and name not in in_legend,
                x=points[column].tolist(),
                y=error(points["accuracy_pct"]),
                customdata=points["accuracy_pct"].tolist(),
                marker=filled if measured else published_marker(tint, mark, _SIZE),
                text=points["configuration"].tolist(),
                hovertemplate=f"{name}<br>%{{text}}<br>{hover}, %{{customdata:.2f}}%"
                "<extra></extra>",
            ),
            row=row,
            col=1,
        )
        in_legend.add(name)
    if panel[panel["source"] == "measured"].empty:
        say_absent(drawing, "no finished cells", row)
    errors = error(panel["accuracy_pct"]) or list(_TICKS)
    drawing.update_yaxes(
        row=row,
        type="log",
        range=[math.log10(max(errors) * 1.3), math.log10(min(errors) / 1.3)],
        tickmode="array",
        tickvals=_TICKS,
        title_text="Test error (%), logarithmic",
    )
    low, high = axes.time_range(panel[column])
    return low, high
