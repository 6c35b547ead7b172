"""Measured values as bars from zero or as dots, published ones as markers on them."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pandas as pd
from plotly import graph_objects as go

from mnist_ops.compare.figures import axes, style
from mnist_ops.compare.figures.numbers import has_range, hidden, repeated
from mnist_ops.compare.figures.style import INK, PRINTED, SOFT, published_marker

# Of the room of one category, what its bars take.
_FILLED = 0.82
_PIXELS_A_BAR = 17
_PIXELS_A_GAP = 8


def height(frame: pd.DataFrame, category: str, series: str) -> int:
    """Pixels for the bars of a frame."""
    bars = _abreast(frame, category, series) * _PIXELS_A_BAR + _PIXELS_A_GAP
    return max(90, frame[category].nunique() * bars)


def grouped_bars(
    figure: go.Figure,
    frame: pd.DataFrame,
    *,
    row: int,
    category: str,
    series: str,
    start: float,
    written: str,
    colour: Callable[[str], str] = style.colour,
) -> None:
    """Draw a frame into the panel of `row`: categories down, one bar or dot a series in each.

    A bar says something by its length, so there are bars where the axis begins at 0 alone. A value
    without a value has the word for its absence in its place; its published value is drawn
    all the same. Positions are numbers, as markers on a category axis cannot be put beside each
    other the way that bars are.

    Args:
        figure: with the panel.
        frame: columns as in `numbers.COMPARED`, with `category` and `series`.
        row: of the panel.
        category: column of what stands on the axis.
        series: column of what has a colour.
        start: where the axis begins, in the axis' own units.
        written: how a value is written in the text that appears over a bar, ``%{x:.2f}%`` say.
        colour: of a series.
    """
    categories = list(dict.fromkeys(frame[category]))
    names = list(dict.fromkeys(frame[series]))
    width = _FILLED / _abreast(frame, category, series)
    places = _places(frame, category, categories, width)
    spread = repeated(frame) or has_range(frame)
    for name in names:
        ours = frame[(frame[series] == name) & frame["measured"].notna()]
        figure.add_trace(
            _marks(start, width, colour(name))(
                name=name,
                legendgroup=name,
                showlegend=_first(figure, name),
                # A series without any value is in the legend all the same: its published values
                # are drawn.
                x=ours["measured"].tolist() or [None],
                y=places[ours.index].tolist() or [None],
                error_x=_error(ours, INK if start == 0 else colour(name)) if spread else None,
                customdata=[f"{c}, {name}" for c in ours[category]],
                hovertemplate=f"%{{customdata}}<br>measured {written}<extra></extra>",
            ),
            row=row,
            col=1,
        )
    printed = frame[frame["published"].notna()]
    if not printed.empty:
        figure.add_trace(
            go.Scatter(
                mode="markers",
                name=PRINTED,
                legendgroup=PRINTED,
                showlegend=_first(figure, PRINTED),
                x=printed["published"].tolist(),
                y=places[printed.index].tolist(),
                marker=published_marker(),
                customdata=[
                    f"{c}, {s}" for c, s in zip(printed[category], printed[series], strict=True)
                ],
                hovertemplate=f"%{{customdata}}<br>published {written}<extra></extra>",
            ),
            row=row,
            col=1,
        )
    absent = frame[frame["measured"].isna() & (frame["absent"] != "")]
    if not absent.empty:
        figure.add_trace(
            go.Scatter(
                mode="text",
                showlegend=False,
                x=[start] * len(absent),
                y=places[absent.index].tolist(),
                # The reason behind the colon stands once, in the panel's title.
                text=[f" <i>{str(word).partition(':')[0]}</i>" for word in absent["absent"]],
                textposition="middle right",
                textfont={"size": 11, "color": SOFT},
                cliponaxis=False,
                hoverinfo="skip",
            ),
            row=row,
            col=1,
        )
    figure.update_yaxes(
        row=row,
        tickmode="array",
        tickvals=list(range(len(categories))),
        ticktext=categories,
        range=[len(categories) - 0.5, -0.5],
        showgrid=False,
        ticks="",
    )


def reasons(frame: pd.DataFrame, series: str) -> Sequence[str]:
    """Return the series without any value, and why: ``CUDA: not measured: no CUDA device``."""
    return [f"{name}: {word}" for name, word in without_values(frame, series).items()]


def without_values(frame: pd.DataFrame, series: str) -> dict[str, str]:
    """Return the series without any value, and why."""
    words = {str(name): hidden(rows) for name, rows in frame.groupby(series, sort=False)}
    return {name: word for name, word in words.items() if word}


def _abreast(frame: pd.DataFrame, category: str, series: str) -> int:
    """Return the largest number of bars of a category."""
    return int(frame.groupby(category)[series].nunique().max()) if len(frame) else 1


def _places(
    frame: pd.DataFrame, category: str, categories: list[object], width: float
) -> "pd.Series[float]":
    """Return the position of each row's bar, around that of its category, in row order."""
    nth = frame.groupby(category).cumcount()
    abreast = frame.groupby(category)[category].transform("size")
    centre = frame[category].map({name: place for place, name in enumerate(categories)})
    return (centre + (nth - (abreast - 1) / 2) * width).astype("float64")


def _first(figure: go.Figure, name: str) -> bool:
    """Return whether the legend has no entry of that name yet."""
    return not any(trace.legendgroup == name and trace.showlegend for trace in figure.data)


def _marks(start: float, width: float, tint: str) -> Callable[..., Any]:
    """Return what draws a series: bars on an axis from 0, dots on any other."""
    if start == 0:
        looks = {"color": tint, "line": {"width": 0}}
        return partial(go.Bar, orientation="h", width=width * 0.9, marker=looks)
    return partial(go.Scatter, mode="markers", marker={"color": tint, "size": 8})


def _error(frame: pd.DataFrame, tint: str) -> dict[str, object]:
    """Return lines to the ends of the range of repeats where it is known, else deviations."""
    looks = {"color": tint, "thickness": 1.5, "width": 3}
    if has_range(frame):
        up, down = frame["high"] - frame["measured"], frame["measured"] - frame["low"]
        return axes.error_bars(up, **looks) | {
            "symmetric": False,
            "arrayminus": axes.error_bars(down)["array"],
        }
    return axes.error_bars(frame["std"], **looks)
