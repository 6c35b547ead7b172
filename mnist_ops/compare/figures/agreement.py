"""Figure of every published number less the measured one, with the range of repeats."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from plotly import graph_objects as go

from mnist_ops.compare import published
from mnist_ops.compare.figures import axes
from mnist_ops.compare.figures.figure import Figure
from mnist_ops.compare.figures.numbers import known
from mnist_ops.compare.figures.style import INK, PAPER, SOFT, panels, say_absent

# Of the study's quantities those with more than a handful of numbers -> the title of the panel,
# and that of its axis.
_PANELS = {
    published.ACCURACY: ("Accuracy", "measured less published (points)"),
    published.F1: ("F1", "measured less published"),
    published.TRAIN_TIME_S: ("Training time", "measured over published, logarithmic"),
    published.SPEEDUP: ("Speed-up", "measured over published, logarithmic"),
}
_RATIOS = (published.TRAIN_TIME_S, published.SPEEDUP)
_COLUMNS = ["table", "metric", "description", "published", "measured", "low", "high", "agrees"]
_PIXELS_A_NUMBER = 9
_EMPTY = 60
# How a point looks by what is said of it.
_AGREES, _DIFFERS, _NOT_JUDGED = "agrees", "differs", "not judged"
_MARKERS: Mapping[str, dict[str, Any]] = {
    _AGREES: {"color": "#2f9e7f", "symbol": "circle"},
    _DIFFERS: {"color": "#d9531e", "symbol": "diamond"},
    _NOT_JUDGED: {"color": PAPER, "symbol": "circle", "line": {"color": INK, "width": 1.5}},
}


def agreement_numbers(agreement: pd.DataFrame) -> pd.DataFrame:
    """Return the measured rows of the comparison that have a panel, one a published number.

    ``gap``, ``gap_low`` and ``gap_high`` are measured less published, or over it for times and
    speed-ups, of the value and of the ends of its range.
    """
    frame = agreement.reindex(columns=_COLUMNS)
    frame = frame[frame["metric"].isin(_PANELS)].copy()
    for column in ("published", "measured", "low", "high"):
        frame[column] = pd.to_numeric(frame[column], errors="coerce").astype("float64")
    frame["agrees"] = [_verdict(value) for value in frame["agrees"]]
    frame = frame.dropna(subset=["published", "measured"]).reset_index(drop=True)
    ratio = frame["metric"].isin(_RATIOS)
    for gap, column in (("gap", "measured"), ("gap_low", "low"), ("gap_high", "high")):
        difference = frame[column] - frame["published"]
        frame[gap] = difference.mask(ratio, frame[column] / frame["published"])
    return frame


def agreement_figure(agreement: pd.DataFrame) -> Figure | None:
    """Draw what is measured against what is published; None where nothing is compared."""
    if agreement.empty:
        return None
    frame = agreement_numbers(agreement)
    title = "Published against measured"
    by_metric = {metric: frame[frame["metric"] == metric].reset_index() for metric in _PANELS}
    # One panel says for all that nothing was measured.
    shown = {m: rows for m, rows in by_metric.items() if len(rows)} or {published.ACCURACY: frame}
    drawing = panels(
        title,
        [_PANELS[metric][0] for metric in shown],
        [max(_EMPTY, len(rows) * _PIXELS_A_NUMBER) for rows in shown.values()],
    )
    in_legend: set[str] = set()
    for row, (metric, panel) in enumerate(shown.items(), start=1):
        if panel.empty:
            say_absent(drawing, "not measured", row)
        _points(drawing, panel, row, in_legend)
        ratio = metric in _RATIOS
        equal = 1 if ratio else 0
        drawing.add_vline(x=equal, line={"color": SOFT, "width": 1, "dash": "dot"}, row=row, col=1)
        drawing.update_xaxes(row=row, title_text=_PANELS[metric][1], nticks=6)
        if ratio:
            low, high = axes.time_range([*panel["gap"], 1.0])
            drawing.update_xaxes(row=row, type="log", range=[low, high], dtick=1)
        _name_tables(drawing, panel, row)
    printed = set(agreement["metric"])
    lacking = [_PANELS[m][0] for m, rows in by_metric.items() if rows.empty and m in printed]
    note = f" Not measured: {', '.join(lacking)}." if lacking else ""
    return Figure(
        "published-against-measured",
        title,
        "A row a published number, by table: on the dotted line these runs found the same. Lines "
        f"are where a repeat falls 95% of the time; one that reaches the dotted line agrees.{note}",
        "Dots: measured less published accuracy and F1, and measured over published time and "
        "speed-up, for every published number, with the range of repeats and a line for equal.",
        frame,
        drawing,
    )


def _points(drawing: go.Figure, panel: pd.DataFrame, row: int, in_legend: set[str]) -> None:
    for verdict, marker in _MARKERS.items():
        points = panel[panel["agrees"] == verdict]
        if points.empty:
            continue
        up, down = points["gap_high"] - points["gap"], points["gap"] - points["gap_low"]
        looks = {"thickness": 1, "width": 0, "color": SOFT}
        bars = axes.error_bars(up, **looks) | {
            "symmetric": False,
            "arrayminus": axes.error_bars(down)["array"],
        }
        drawing.add_trace(
            go.Scatter(
                mode="markers",
                name=verdict,
                legendgroup=verdict,
                showlegend=verdict not in in_legend,
                x=points["gap"].tolist(),
                y=points.index.tolist(),
                error_x=bars if known(up) else None,
                marker={"size": 6, **marker},
                text=points["description"].tolist(),
                customdata=points[["published", "measured"]].to_numpy().tolist(),
                hovertemplate="%{text}<br>published %{customdata[0]:.4g}, "
                f"measured %{{customdata[1]:.4g}}<br>{verdict}<extra></extra>",
            ),
            row=row,
            col=1,
        )
        in_legend.add(verdict)


def _name_tables(drawing: go.Figure, panel: pd.DataFrame, row: int) -> None:
    """Name each table in the middle of its numbers."""
    numbered = panel.dropna(subset=["table"])
    middles = {
        int(rows["table"].iloc[0]): float(rows.index.to_series().mean())
        for _, rows in numbered.groupby("table")
    }
    drawing.update_yaxes(
        row=row,
        tickmode="array",
        tickvals=list(middles.values()),
        ticktext=[f"Table {table}" for table in middles],
        range=[len(panel) - 0.5, -0.5],
        showgrid=False,
        ticks="",
    )


def _verdict(value: object) -> str:
    match str(value).lower():
        case "yes":
            return _AGREES
        case "no":
            return _DIFFERS
        case _:
            return _NOT_JUDGED
