"""How every figure looks: one colour an entity, one layout.

Text, rules and paper have the four colours below, by which the page recognises them: it replaces
them by its own, so that figures follow its theme.
"""

from collections.abc import Sequence
from typing import Any
from zlib import crc32

from plotly import graph_objects as go
from plotly.subplots import make_subplots

INK = "#1d1f23"
SOFT = "#5d626b"
RULE = "#d9d7d0"
PAPER = "#ffffff"

_COLOURS = ("#7a5195", "#8c564b", "#6b8e23")

# Of accuracies, low to high: light enough for dark text on any of it, in either theme, and told
# apart in grey as well.
COLOUR_SCALE = ("#ffffe0", "#c7e9b4", "#7fcdbb", "#41b6c4")
ON_COLOUR_SCALE = "#111111"

FONT = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', 'Liberation Sans', Arial, sans-serif"
PRINTED = "published"

# Pixels above the panels: the figure's title, its legend (two lines of it fit), and the first
# panel's own title; and between and below them, for the titles of axes.
TITLE = 48
LEGEND = 40
_PANEL_TITLE = 26
_BETWEEN = 78
_BOTTOM = 56


def colour(entity: str) -> str:
    """Return a colour for an entity, the same in every figure."""
    return _COLOURS[crc32(entity.encode()) % len(_COLOURS)]


def panel_grid(title: str, columns: Sequence[str], rows: int, height: int) -> go.Figure:
    """Return an empty figure with a heading over each column and one y axis a row.

    Args:
        title: of the figure.
        columns: their headings.
        rows: how many there are.
        height: pixels of each row.
    """
    return panels(
        title,
        [name if row == 0 else "" for row in range(rows) for name in columns],
        [height] * rows,
        columns=len(columns),
        between=40,
        shared_yaxes=True,
        horizontal_spacing=0.06,
    )


def panels(
    title: str,
    titles: Sequence[str],
    heights: Sequence[int],
    *,
    columns: int = 1,
    between: int = _BETWEEN,
    legend: bool = True,
    **options: Any,
) -> go.Figure:
    """Return an empty figure with one panel a title, row by row.

    Args:
        title: of the figure.
        titles: of the panels, left above each.
        heights: pixels of each row.
        columns: panels a row; one reads at the width of a phone.
        between: pixels from row to row, for the titles of axes and panels.
        legend: whether room is kept for one.
        options: further arguments of ``make_subplots``.
    """
    height = sum(heights) + between * (len(heights) - 1)
    top = TITLE + _PANEL_TITLE + (LEGEND if legend else 0)
    figure = make_subplots(
        rows=len(heights),
        cols=columns,
        subplot_titles=list(titles),
        row_heights=list(heights),
        vertical_spacing=between / height if len(heights) > 1 else 0,
        **options,
    )
    for annotation in figure.layout.annotations:
        # Left above its panel: the middle of a panel with long labels is not that of the page.
        left = _left(figure, annotation.x)
        annotation.update(
            x=left, xanchor="left", yshift=4, font={"size": 14, "color": INK}, align="left"
        )
    figure.update_layout(
        template="none",
        height=height + top + _BOTTOM,
        margin={"t": top, "b": _BOTTOM, "l": 12, "r": 16},
        title={
            "text": title,
            "font": {"size": 18, "color": INK},
            "x": 0,
            "xanchor": "left",
            "xref": "container",
            "y": 1,
            "yanchor": "top",
            "yref": "container",
            "pad": {"l": 12, "t": 16},
        },
        font={"family": FONT, "size": 12, "color": INK},
        paper_bgcolor=PAPER,
        plot_bgcolor=PAPER,
        hoverlabel={"bgcolor": PAPER, "bordercolor": SOFT, "font": {"color": INK}},
        legend={
            "orientation": "h",
            # Of the whole figure: a legend within the panels would push their margins about.
            "xref": "container",
            "x": 0.01,
            "xanchor": "left",
            "yref": "container",
            "y": 1 - TITLE / (height + top + _BOTTOM),
            "yanchor": "top",
            "itemsizing": "constant",
            "font": {"size": 12, "color": INK},
            "bgcolor": "rgba(0,0,0,0)",
        },
        bargap=0,
        modebar={"orientation": "v", "bgcolor": "rgba(0,0,0,0)", "color": SOFT},
        dragmode=False,
    )
    axis = {
        "gridcolor": RULE,
        "linecolor": SOFT,
        "zeroline": False,
        "ticks": "outside",
        "ticklen": 4,
        "tickcolor": SOFT,
        "automargin": True,
        "title": {"standoff": 6, "font": {"size": 12, "color": SOFT}},
        "fixedrange": True,
    }
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    return figure


def published_marker(colour: str = INK, symbol: str = "diamond", size: int = 9) -> dict[str, Any]:
    """Return the marker of published values: always hollow, as measured ones never are."""
    return {
        "symbol": symbol,
        "size": size,
        "color": PAPER,
        "line": {"color": colour, "width": 1.75},
    }


def name_published(figure: go.Figure) -> None:
    """Put the hollow markers of all published values into the legend, once."""
    marker = published_marker(SOFT)
    figure.add_trace(
        go.Scatter(mode="markers", name=PRINTED, x=[None], y=[None], marker=marker), row=1, col=1
    )


def say_absent(figure: go.Figure, text: str, row: int, column: int = 1) -> None:
    """Say in a panel why nothing measured is in it."""
    figure.add_annotation(
        text=f"<i>{text}</i>",
        row=row,
        col=column,
        x=0.5,
        xref="x domain",
        y=0.5,
        yref="y domain",
        showarrow=False,
        font={"size": 13, "color": SOFT},
        bgcolor=PAPER,
        borderpad=4,
    )


def _left(figure: go.Figure, centre: float) -> float:
    """Return the left edge of the panel whose middle is at `centre`."""
    domains = [axis.domain for axis in figure.select_xaxes()]
    return float(min(domains, key=lambda domain: abs(sum(domain) / 2 - centre))[0])
