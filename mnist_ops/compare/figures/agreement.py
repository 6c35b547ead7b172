"""Every published number against the measured one."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
from plotly import graph_objects as go

from mnist_ops.compare import published
from mnist_ops.compare.figures import axes
from mnist_ops.compare.figures.figure import Figure
from mnist_ops.compare.figures.style import INK, PAPER, SOFT, panels, say_absent

# Of the study's quantities those with more than a handful of numbers -> the panel's title.
_PANELS = {
    published.ACCURACY: "Accuracy (%)",
    published.F1: "F1",
    published.TRAIN_TIME_S: "Training time (s)",
    published.SPEEDUP: "Speed-up (×)",
}
_LOGARITHMIC = (published.TRAIN_TIME_S, published.SPEEDUP)
_COLUMNS = ["metric", "description", "published", "measured", "agrees"]
# How a point looks by what is said of it: filled, hollow, and grey.
_MARKERS: Mapping[str, dict[str, Any]] = {
    "agrees": {"color": INK, "symbol": "circle"},
    "differs": {"color": PAPER, "symbol": "circle", "line": {"color": INK, "width": 1.5}},
    "not judged": {"color": SOFT, "symbol": "x-thin", "line": {"color": SOFT, "width": 1.5}},
}


def agreement_numbers(agreement: pd.DataFrame) -> pd.DataFrame:
    """Return the measured rows of the comparison that have a panel, one a published number."""
    frame = agreement[agreement["metric"].isin(_PANELS)][_COLUMNS].copy()
    for side in ("published", "measured"):
        frame[side] = pd.to_numeric(frame[side], errors="coerce").astype("float64")
    frame["agrees"] = [_verdict(value) for value in frame["agrees"]]
    return frame.dropna(subset=["published", "measured"]).reset_index(drop=True)


def agreement_figure(agreement: pd.DataFrame) -> Figure | None:
    """Published against measured; None where nothing is compared."""
    if agreement.empty:
        return None
    frame = agreement_numbers(agreement)
    title = "Published against measured"
    drawing = panels(title, list(_PANELS.values()), [270, 270], columns=2, horizontal_spacing=0.24)
    in_legend: set[str] = set()
    for place, metric in enumerate(_PANELS):
        row, column = divmod(place, 2)
        row, column = row + 1, column + 1
        panel = frame[frame["metric"] == metric]
        if panel.empty:
            say_absent(drawing, "not measured", row, column)
        low, high = _limits(panel, metric)
        drawing.add_trace(
            go.Scatter(
                mode="lines",
                name="equal",
                showlegend=place == 0,
                x=[low, high],
                y=[low, high],
                line={"color": SOFT, "width": 1, "dash": "dot"},
                hoverinfo="skip",
            ),
            row=row,
            col=column,
        )
        for verdict, marker in _MARKERS.items():
            points = panel[panel["agrees"] == verdict]
            if points.empty:
                continue
            drawing.add_trace(
                go.Scatter(
                    mode="markers",
                    name=verdict,
                    legendgroup=verdict,
                    showlegend=verdict not in in_legend,
                    x=points["published"].tolist(),
                    y=points["measured"].tolist(),
                    marker={"size": 7, **marker},
                    text=points["description"].tolist(),
                    hovertemplate="%{text}<br>published %{x:.4g}, measured %{y:.4g}"
                    f"<br>{verdict}<extra></extra>",
                ),
                row=row,
                col=column,
            )
            in_legend.add(verdict)
        log = metric in _LOGARITHMIC
        ends = [math.log10(low), math.log10(high)] if log else [low, high]
        options: dict[str, Any] = {"type": "log"} if log else {}
        options |= {"range": ends, "nticks": 4}
        drawing.update_xaxes(row=row, col=column, title_text="published", tickangle=0, **options)
        drawing.update_yaxes(row=row, col=column, title_text="measured", **options)
    return Figure(
        "published-against-measured",
        title,
        "A point a published number, on the dotted line where these runs found the same. Filled "
        "ones agree, hollow ones differ, each by the range in the table below.",
        "Scatter plots of measured over published values, a panel each for accuracy, F1, training "
        "time and speed-up, with the line on which both are equal.",
        frame,
        drawing,
    )


def _verdict(value: object) -> str:
    match str(value).lower():
        case "true" | "yes" | "agrees":
            return "agrees"
        case "false" | "no" | "differs":
            return "differs"
        case _:
            return "not judged"


def _limits(panel: pd.DataFrame, metric: str) -> tuple[float, float]:
    values = [*panel["published"], *panel["measured"]]
    if metric in _LOGARITHMIC:
        low, high = axes.time_range(values)
        return 10**low, 10**high
    if not values:
        return 0.0, 1.0
    room = max((max(values) - min(values)) * 0.06, 1e-3)
    return min(values) - room, max(values) + room
