"""Figures of what matters: shares of the variance, main effects, the best in pairs."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from plotly import graph_objects as go

from mnist_ops.compare import statistics
from mnist_ops.compare.best_pairs import BestPairs
from mnist_ops.compare.figures.figure import Figure
from mnist_ops.compare.figures.style import COLOUR_SCALE, INK, ON_COLOUR_SCALE, SOFT, panels
from mnist_ops.compare.render import minus
from mnist_ops.compare.what_matters import Factorial

SHARES, EFFECTS, PAIRS = "variance-shares", "main-effects", "best-configurations"

_TWO, _MORE, _ANY = "two together", "three or more together", "several together"
_SEED, _SEED_AND_MORE = "seed", "seed and several together"
_BAR = 26


def shares_figure(grids: Mapping[str, Factorial]) -> Figure:
    """Draw the share of each axis, of interactions and of seeds; a panel a grid."""
    frame = pd.DataFrame(
        [
            {"grid": name, "source": source, "percent": 100 * share}
            for name, grid in grids.items()
            for source, share in shares(grid).items()
        ]
    )
    title = "Where the variance comes from"
    by_grid = {str(name): part for name, part in frame.groupby("grid", sort=False)}
    heights = [_BAR * len(part) for part in by_grid.values()]
    drawing = panels(title, list(by_grid), heights, between=52, legend=False)
    for row, part in enumerate(by_grid.values(), start=1):
        others = (_TWO, _MORE, _ANY, _SEED, _SEED_AND_MORE)
        of_axes = [source not in others for source in part["source"]]
        drawing.add_trace(
            go.Bar(
                orientation="h",
                x=part["percent"].tolist(),
                y=part["source"].tolist(),
                width=0.7,
                marker={"color": [INK if own else SOFT for own in of_axes]},
                text=[f"{percent:.0f}%" for percent in part["percent"]],
                textposition="outside",
                cliponaxis=False,
                hovertemplate="%{y}: %{x:.1f}%<extra></extra>",
                showlegend=False,
            ),
            row=row,
            col=1,
        )
        drawing.update_xaxes(row=row, range=[0, 108], tickvals=[0, 25, 50, 75, 100])
        drawing.update_yaxes(row=row, autorange="reversed", showgrid=False, ticks="")
    drawing.update_xaxes(row=len(by_grid), title_text="share of the variance (%)")
    return Figure(
        SHARES,
        title,
        "Shares of the variance of one run's score over the grid, by analysis of variance (omega "
        "squared, type II). Dark: one setting alone. Grey: settings whose effect depends on each "
        "other, and the seed.",
        "Bar charts of the share of the variance of each setting, of interactions and of the seed, "
        "a panel a grid.",
        frame,
        drawing,
    )


def effects_figure(grids: Mapping[str, Factorial], score: str) -> Figure:
    """Draw the mean at each value of each axis with its interval; a panel a grid."""
    frame = pd.DataFrame(
        [
            {
                "grid": name,
                "setting": f"{_words(level.axis)} {_value(level.value)}",
                "axis": level.axis,
                "mean": level.mean,
                "low": level.interval[0] if level.interval else level.mean,
                "high": level.interval[1] if level.interval else level.mean,
                "n": level.n,
            }
            for name, grid in grids.items()
            for term in grid.main
            for level in grid.levels
            if level.axis == term.axes[0]
        ]
    )
    title = "The mean at each value of each setting"
    by_grid = {str(name): part for name, part in frame.groupby("grid", sort=False)}
    heights = [_BAR * len(part) for part in by_grid.values()]
    drawing = panels(title, list(by_grid), heights, between=52, legend=False)
    for row, part in enumerate(by_grid.values(), start=1):
        for _, points in part.groupby("axis", sort=False):
            drawing.add_trace(
                go.Scatter(
                    mode="lines+markers",
                    x=points["mean"].tolist(),
                    y=points["setting"].tolist(),
                    line={"color": SOFT, "width": 1},
                    marker={"size": 9, "color": INK},
                    error_x={
                        "type": "data",
                        "array": (points["high"] - points["mean"]).tolist(),
                        "color": INK,
                        "thickness": 1.5,
                        "width": 4,
                    },
                    customdata=points[["low", "high", "n"]].to_numpy().tolist(),
                    hovertemplate="%{y}: %{x:.2f} (%{customdata[0]:.2f} to %{customdata[1]:.2f}), "
                    "mean of %{customdata[2]} configurations<extra></extra>",
                    showlegend=False,
                ),
                row=row,
                col=1,
            )
        drawing.update_yaxes(row=row, autorange="reversed", ticks="")
    drawing.update_xaxes(row=len(by_grid), title_text=score)
    return Figure(
        EFFECTS,
        title,
        "A point is the mean over all configurations with this value, each with equal weight; bars "
        "are 95% intervals for the seeds. The setting with the largest share of the variance is "
        "first. Each panel has an axis of its own.",
        f"Dot plots of the mean {score} at each value of each setting with intervals, a panel a "
        "grid.",
        frame,
        drawing,
    )


def pairs_figure(tables: Mapping[str, tuple[BestPairs, list[str]]]) -> Figure:
    """Draw the best configurations against each other; a panel a data set, with their names."""
    rows: list[dict[str, Any]] = [
        {
            "dataset": dataset,
            "first": names[first],
            "second": names[second],
            "difference": compared.effect,
            "p_adjusted": compared.p_value,
        }
        for dataset, (pairs, names) in tables.items()
        for (first, second), compared in pairs.compared.items()
    ]
    title = "The best, each against each"
    heights = [54 * len(names) for _, names in tables.values()]
    drawing = panels(title, list(tables), heights, between=90, legend=False)
    reach = max((abs(row["difference"]) for row in rows), default=1.0) or 1.0
    for row, (pairs, names) in enumerate(tables.values(), start=1):
        numbers = [str(number) for number in range(1, len(names) + 1)]
        labels = [f"{n} {_wrapped(name)}" for n, name in zip(numbers, names, strict=True)]
        values, texts = _matrix(pairs, len(names))
        drawing.add_trace(
            go.Heatmap(
                x=numbers,
                y=labels,
                z=values,
                zmin=0,
                zmax=reach,
                text=texts,
                texttemplate="%{text}",
                textfont={"size": 11, "color": ON_COLOUR_SCALE},
                colorscale=list(COLOUR_SCALE),
                showscale=False,
                xgap=2,
                ygap=2,
                hovertemplate="%{y} less %{x}: %{text} points<extra></extra>",
            ),
            row=row,
            col=1,
        )
        drawing.update_xaxes(
            row=row, type="category", ticks="", showgrid=False, title_text="less configuration"
        )
        drawing.update_yaxes(
            row=row, ticks="", showgrid=False, autorange="reversed", tickfont={"size": 11}
        )
    return Figure(
        PAIRS,
        title,
        "Points of test accuracy that the configuration of a row has more than that of a column, "
        "the best by validation first, all seeds of both. A star: different at the 5% level, "
        "adjusted for all pairs (Holm).",
        "Matrices of the differences between the best configurations, a panel a data set.",
        pd.DataFrame(rows),
        drawing,
    )


def shares(grid: Factorial) -> dict[str, float]:
    """Return source of variance -> its share, the axes first."""
    found = {_words(term.axes[0]): term.share for term in grid.main}
    if grid.pairs:
        found[_TWO] = grid.of_pairs
    if grid.higher is not None and len(grid.axes) > 1:
        found[_MORE if grid.pairs else _ANY] = grid.higher
    found[_SEED if grid.repeats else _SEED_AND_MORE] = grid.seeds
    return found


def _matrix(pairs: BestPairs, size: int) -> tuple[list[list[Any]], list[list[str]]]:
    values: list[list[Any]] = [[None] * size for _ in range(size)]
    texts = [[""] * size for _ in range(size)]
    for (first, second), compared in pairs.compared.items():
        star = "*" if (compared.p_value or 1.0) < statistics.ALPHA else ""
        for row, column, effect in (
            (first, second, compared.effect),
            (second, first, -compared.effect),
        ):
            values[row][column] = abs(effect)
            texts[row][column] = minus(f"{effect:+z.2f}{star}")
    return values, texts


def _wrapped(name: str) -> str:
    """Return a configuration's name with two of its values a line."""
    parts = name.split(", ")
    return "<br>".join(", ".join(parts[n : n + 2]) for n in range(0, len(parts), 2))


def _words(axis: str) -> str:
    return axis.replace("_", " ")


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
