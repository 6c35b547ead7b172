"""Measured values as bars, published ones as markers on them."""

from collections.abc import Callable, Sequence

import pandas as pd
from plotly import graph_objects as go

from mnist_ops.compare.figures import axes, style
from mnist_ops.compare.figures.numbers import hidden, repeated
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
    """Draw a frame into the panel of `row`: categories down, one bar a series in each.

    A bar without a value has the word for its absence in its place; its published value is drawn
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
    spread = repeated(frame)
    for name in names:
        ours = frame[(frame[series] == name) & frame["measured"].notna()]
        figure.add_trace(
            go.Bar(
                orientation="h",
                name=name,
                legendgroup=name,
                showlegend=_first(figure, name),
                # A series without any value is in the legend all the same: its published values
                # are drawn.
                x=ours["measured"].tolist() or [None],
                y=places[ours.index].tolist() or [None],
                width=width * 0.9,
                marker={"color": colour(name), "line": {"width": 0}},
                error_x=_error(ours) if spread else None,
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
    absent = frame[frame["measured"].isna()]
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
    words = ((name, hidden(of_name)) for name, of_name in frame.groupby(series, sort=False))
    return [f"{name}: {word}" for name, word in words if word]


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


def _error(frame: pd.DataFrame) -> dict[str, object]:
    return axes.error_bars(frame["std"], color=INK, thickness=1.25, width=3)
