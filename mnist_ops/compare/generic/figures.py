"""The figures of a study's own report."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import pandas as pd
from plotly import graph_objects as go
from plotly.colors import sample_colorscale

from mnist_ops.compare.figures import axes as ranges
from mnist_ops.compare.figures.confusion import confusion_figure
from mnist_ops.compare.figures.figure import Figure
from mnist_ops.compare.figures.style import COLOUR_SCALE, INK, ON_COLOUR_SCALE, SOFT, panels
from mnist_ops.compare.generic.configurations import Configuration, Grid, Score, label, shown
from mnist_ops.compare.results import History, Source
from mnist_ops.compare.tables.champion import Champion
from mnist_ops.compare.tables.measure import TO_PERCENT
from mnist_ops.core import keys

# Okabe and Ito's, told apart with any colour vision.
_PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#8a8a8a")
# From blue to orange by way of grey: lines of it are seen on light and on dark paper.
_LINES = ("#0072b2", "#8a8a8a", "#d55e00")
_CURVES = {
    keys.TRAIN_LOSS: ("Training loss", 1),
    keys.VAL_ACCURACY: ("Validation accuracy (%)", TO_PERCENT),
}
_MOST_LINES = 300
_MOST_CURVES = 6
_MOST_AXES = 5
# Letters of a value beside others.
_SHORT = 12
_COSTS = {
    "accuracy-against-time": (keys.TRAIN_TIME_S, "Training time (s)", "training time"),
    "accuracy-against-flops": (keys.FLOPS, "FLOPs an image", "FLOPs"),
}


def figures(grid: Grid, score: Score, source: Source) -> list[Figure]:
    """Return those figures that the runs have numbers for."""
    found = [
        main_effects(grid, score),
        heat_map(grid, score),
        parallel_coordinates(grid, score),
        *(against_cost(grid, score, stem) for stem in _COSTS),
        learning_curves(grid, score, source.history),
    ]
    if score.is_accuracy:
        found += [_confusion(grid, dataset, source) for dataset in grid.datasets if dataset]
    return [figure for figure in found if figure is not None]


def main_effects(grid: Grid, score: Score) -> Figure | None:
    """Draw the mean of each value of each axis; None without axes."""
    rows = [
        {"axis": label(axis), "value": _named(each.value), "mean": each.mean, "n": each.n}
        for axis in grid.by_range()
        for each in grid.effects(axis)
    ]
    if not rows:
        return None
    frame = pd.DataFrame(rows)
    by_axis = {str(name): part for name, part in frame.groupby("axis", sort=False)}
    title = "What matters: the mean at each value of each axis"
    drawing = panels(
        title,
        list(by_axis),
        [max(60, 26 * len(part)) for part in by_axis.values()],
        between=46,
        legend=False,
    )
    low, high = _range(frame["mean"], score)
    for row, part in enumerate(by_axis.values(), start=1):
        drawing.add_trace(
            go.Scatter(
                mode="lines+markers",
                x=part["mean"].tolist(),
                y=part["value"].tolist(),
                line={"color": SOFT, "width": 1},
                marker={"size": 9, "color": _PALETTE[0]},
                customdata=part["n"].tolist(),
                hovertemplate="%{y}: %{x:.4g}, mean of %{customdata} configurations<extra></extra>",
                showlegend=False,
            ),
            row=row,
            col=1,
        )
        drawing.update_xaxes(row=row, range=[low, high])
        drawing.update_yaxes(row=row, type="category", autorange="reversed", ticks="")
    drawing.update_xaxes(row=len(by_axis), title_text=score.label)
    return Figure(
        "main-effects",
        title,
        "A point is the mean over all configurations with this value, each with equal weight. The "
        "axis whose values lie furthest apart is first.",
        f"Dot plot of the mean {score.label} at each value of each axis, largest range first: "
        f"{', '.join(by_axis)}.",
        frame,
        drawing,
    )


def heat_map(grid: Grid, score: Score) -> Figure | None:
    """Draw the mean over the two axes that matter most; None where there are not two."""
    if len(grid.axes) < 2:
        return None
    down, across = grid.by_range()[:2]
    found: dict[tuple[str, str], list[float]] = {}
    for each in grid.configurations:
        if each.mean is not None:
            place = _named(each.values[down]), _named(each.values[across])
            found.setdefault(place, []).append(each.mean)
    if not found:
        return None
    frame = pd.DataFrame(
        [{down: d, across: a, "mean": fmean(v), "n": len(v)} for (d, a), v in found.items()]
    )
    rows, columns = ([_named(value) for value in grid.axes[axis]] for axis in (down, across))
    values = [[fmean(found[d, a]) if (d, a) in found else None for a in columns] for d in rows]
    title = f"{score.label} over {label(down)} and {label(across)}"
    drawing = panels(title, [""], [max(120, 34 * len(rows))], legend=False)
    drawing.add_trace(
        go.Heatmap(
            x=columns,
            y=rows,
            z=values,
            text=[["" if v is None else _written(v, score) for v in row] for row in values],
            texttemplate="%{text}",
            textfont={"size": 11, "color": ON_COLOUR_SCALE},
            colorscale=list(COLOUR_SCALE),
            showscale=False,
            xgap=2,
            ygap=2,
            hovertemplate=f"{label(down)} %{{y}}, {label(across)} %{{x}}: %{{text}}<extra></extra>",
        ),
        row=1,
        col=1,
    )
    drawing.update_xaxes(type="category", title_text=label(across), ticks="", showgrid=False)
    drawing.update_yaxes(
        type="category", title_text=label(down), ticks="", showgrid=False, autorange="reversed"
    )
    return Figure(
        "heat-map",
        title,
        "The two axes that matter most; each value is a mean over the configurations that differ "
        "in the other axes. tables/table-04.csv has them all.",
        f"Heat map of {score.label}: {label(down)} down, {label(across)} across.",
        frame,
        drawing,
    )


def parallel_coordinates(grid: Grid, score: Score) -> Figure | None:
    """Draw each configuration as a line through its values; None for fewer than two axes."""
    axes = [axis for axis in grid.by_range() if len(grid.axes[axis]) <= 20][:_MOST_AXES]
    there = [each for each in grid.configurations if each.mean is not None]
    if len(axes) < 2 or len(there) < 3:
        return None
    # The best last, on top.
    sign = -1 if score.lowest else 1
    drawn = sorted(there, key=lambda each: sign * (each.mean or 0.0))[-_MOST_LINES:]
    means = [each.mean or 0.0 for each in drawn]
    low, high = min(means), max(means)
    places = {
        axis: {value: (n + 0.5) / len(grid.axes[axis]) for n, value in enumerate(grid.axes[axis])}
        for axis in axes
    }
    title = "Every configuration, through its values to its result"
    drawing = panels(title, [""], [420], legend=False)
    for each, mean in zip(drawn, means, strict=True):
        share = (mean - low) / (high - low) if high > low else 1.0
        good = 1 - share if score.lowest else share
        drawing.add_trace(
            go.Scatter(
                mode="lines",
                x=list(range(len(axes) + 1)),
                y=[*(places[axis][each.values[axis]] for axis in axes), 0.02 + 0.96 * share],
                line={
                    "color": sample_colorscale(list(_LINES), good)[0],
                    "width": 1 + 1.5 * good**3,
                    "shape": "spline",
                    "smoothing": 0.6,
                },
                opacity=0.35 + 0.65 * good,
                hovertemplate=f"{each.text()}: {_written(mean, score)}<extra></extra>",
                showlegend=False,
            ),
            row=1,
            col=1,
        )
    marks = [
        (number, place, _named(value)[:_SHORT])
        for number, axis in enumerate(axes)
        for value, place in places[axis].items()
    ]
    marks += [(len(axes), 0.02, _written(low, score)), (len(axes), 0.98, _written(high, score))]
    for x, y, text in marks:
        drawing.add_annotation(
            x=x, y=y, text=text, showarrow=False, font={"size": 11, "color": INK}, bgcolor="#ffffff"
        )
    names = [*(label(axis) for axis in axes), score.label]
    drawing.update_xaxes(
        tickmode="array",
        tickvals=list(range(len(names))),
        ticktext=["<br>".join(name.split(" ")) for name in names],
        range=[-0.35, len(names) - 0.65],
        ticks="",
        tickangle=0,
    )
    drawing.update_yaxes(visible=False, range=[-0.02, 1.04])
    frame = pd.DataFrame([{**each.values, "mean": each.mean} for each in drawn])
    return Figure(
        "parallel-coordinates",
        title,
        "A line is a configuration: left to right its value of each axis, the axis that matters "
        f"most first, and at the right its mean. Orange is best, blue worst.{_left_out(there)}",
        f"Parallel coordinates of {len(drawn)} configurations over {', '.join(names)}.",
        frame,
        drawing,
    )


def against_cost(grid: Grid, score: Score, stem: str) -> Figure | None:
    """Draw the score over what a configuration costs; None where that is not known."""
    metric, axis_title, what = _COSTS[stem]
    by = keys.MODEL if keys.MODEL in grid.axes else next(iter(grid.by_range()), None)
    rows = [
        {
            "series": shown(each.values[by]) if by else "configurations",
            "configuration": each.text(),
            "cost": cost,
            "mean": each.mean,
        }
        for each in grid.configurations
        if each.mean is not None and (cost := each.mean_of(metric))
    ]
    if len({row["cost"] for row in rows}) < 2:
        return None
    frame = pd.DataFrame(rows)
    title = f"{score.label} against {what}"
    drawing = panels(title, [""], [360])
    for number, (name, part) in enumerate(frame.groupby("series", sort=False)):
        drawing.add_trace(
            go.Scatter(
                mode="markers",
                name=f"{label(by)} {name}" if by and by != keys.MODEL else str(name),
                x=part["cost"].tolist(),
                y=part["mean"].tolist(),
                marker={"size": 9, "color": _PALETTE[number % len(_PALETTE)], "opacity": 0.8},
                text=part["configuration"].tolist(),
                hovertemplate="%{text}<br>%{x:.3g}: %{y:.4g}<extra></extra>",
                showlegend=bool(by),
            ),
            row=1,
            col=1,
        )
    low, high = ranges.time_range(frame["cost"])
    drawing.update_xaxes(
        type="log", range=[low, high], title_text=axis_title, dtick="D2", tickangle=0
    )
    drawing.update_yaxes(range=list(_range(frame["mean"], score)), title_text=score.label)
    return Figure(
        stem,
        title,
        f"A point is the mean of a configuration over its seeds. Logarithmic in {what}.",
        f"Scatter plot of {score.label} over {what}, a point a configuration.",
        frame,
        drawing,
    )


def learning_curves(grid: Grid, score: Score, history: History) -> Figure | None:
    """Draw the course of the best configurations' trainings; None where none has any."""
    ranked = [each for each in grid.configurations if each.chosen_by is not None]
    ranked.sort(key=lambda each: -each.rank)
    curves = _CURVES if score.is_accuracy else {score.metric: (score.label, 1)}
    rows: list[dict[str, Any]] = []
    # A store is asked for each curve on its own.
    for each in ranked[: 3 * _MOST_CURVES]:
        if len({row["configuration"] for row in rows}) == _MOST_CURVES:
            break
        if score.is_accuracy and not each.cells[0].params.get(keys.EPOCHS):
            continue
        for metric, (_, scale) in curves.items():
            rows += [
                {"metric": metric, "configuration": each.text(), "epoch": epoch, "value": value}
                for epoch, value in _mean_curve(each, history, metric, scale).items()
            ]
    frame = pd.DataFrame(rows)
    if frame.empty or frame["epoch"].nunique() < 2:
        return None
    title = "Learning curves of the best configurations"
    there = [metric for metric in curves if (frame["metric"] == metric).any()]
    names = list(dict.fromkeys(frame["configuration"]))
    drawing = panels(title, [curves[metric][0] for metric in there], [240] * len(there))
    for row, metric in enumerate(there, start=1):
        for number, name in enumerate(names):
            part = frame[(frame["metric"] == metric) & (frame["configuration"] == name)]
            drawing.add_trace(
                go.Scatter(
                    mode="lines+markers",
                    # Configurations have long names, which the caption has.
                    name=f"no. {number + 1}",
                    legendgroup=name,
                    showlegend=row == 1,
                    x=part["epoch"].tolist(),
                    y=part["value"].tolist(),
                    line={"color": _PALETTE[number], "width": 2},
                    hovertemplate=f"{name}<br>epoch %{{x}}: %{{y:.4g}}<extra></extra>",
                ),
                row=row,
                col=1,
            )
    drawing.update_xaxes(row=len(there), title_text="Epoch" if score.is_accuracy else "Step")
    if (last := int(frame["epoch"].max())) <= 20:
        drawing.update_xaxes(dtick=1, range=[0.9, last + 0.1])
    return Figure(
        "learning-curves",
        title,
        "The best configurations, each the mean over its seeds: "
        + "; ".join(f"{number}. {name}" for number, name in enumerate(names, start=1))
        + ".",
        f"Line charts of {' and '.join(curves[metric][0] for metric in there)} over the training.",
        frame,
        drawing,
    )


def _confusion(grid: Grid, dataset: Any, source: Source) -> Figure | None:
    best = grid.best(dataset)
    if best is None:
        return None
    text = best.text((keys.DATASET, keys.MODEL)) if keys.MODEL in grid.axes else best.text()
    model = best.values.get(keys.MODEL, grid.fixed.get(keys.MODEL, "the best configuration"))
    return confusion_figure(
        Champion(best.cells, str(model), text), str(dataset), source, what="configuration"
    )


def _mean_curve(
    each: Configuration, history: History, metric: str, scale: float
) -> Mapping[int, float]:
    values: dict[int, list[float]] = {}
    for cell in each.cells:
        if cell.finished and cell.run_id:
            for step, value in history(cell.run_id, metric):
                # A value without a step is not of a course.
                if step > 0:
                    values.setdefault(step, []).append(value * scale)
    return {step: fmean(found) for step, found in sorted(values.items())}


def _range(values: "pd.Series[float]", score: Score) -> tuple[float, float]:
    found = [float(value) for value in values]
    if score.is_accuracy:
        return ranges.percent_range(found)
    room = (max(found) - min(found)) * 0.08 or abs(max(found)) * 0.08 or 1.0
    return min(found) - room, max(found) + room


def _written(value: float, score: Score) -> str:
    decimals = score.kind.decimals
    return f"{value:.4g}" if decimals is None else f"{value:.{decimals}f}"


def _named(value: Any) -> str:
    return shown(value) or "(none)"


def _left_out(there: Sequence[Configuration]) -> str:
    if len(there) <= _MOST_LINES:
        return ""
    return f" The best {_MOST_LINES} of {len(there):,} are drawn."
