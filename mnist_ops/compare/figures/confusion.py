"""Which classes the best network of a data set takes for which others."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from plotly import graph_objects as go

from mnist_ops.compare.figures.figure import Figure
from mnist_ops.compare.figures.style import panels
from mnist_ops.compare.predictions import Predictions
from mnist_ops.compare.results import Pixels, Source
from mnist_ops.compare.tables.champion import Champion

_PAIRS = 5
_EXAMPLES = 6
# White between images, in their own pixels.
_GAP = 3


def confusion_numbers(names: Sequence[str], found: Sequence[Predictions]) -> pd.DataFrame:
    """Return how often each class was taken for each, summed over `found`: one row a pair."""
    n = max(len(names), *(1 + int(max(p.label.max(), p.predicted.max())) for p in found))
    names = [*names, *map(str, range(len(names), n))]
    counts = np.zeros((n, n), dtype=np.int64)
    for predictions in found:
        np.add.at(counts, (predictions.label, predictions.predicted), 1)
    return pd.DataFrame(
        [
            {"label": names[i], "predicted": names[j], "count": int(counts[i, j])}
            for i in range(n)
            for j in range(n)
        ]
    )


def confused_pairs(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the at most five most frequent errors, the most frequent first."""
    errors = frame[(frame["label"] != frame["predicted"]) & (frame["count"] > 0)]
    return errors.sort_values("count", ascending=False, kind="stable").head(_PAIRS)


def confusion_figure(
    best: Champion, dataset: str, source: Source, *, what: str = "network"
) -> Figure | None:
    """Return the confusion matrix of a champion; None where it left no predictions.

    Args:
        best: the champion.
        dataset: of its cells.
        what: the champion is the best of these.
        source: of its predictions, of the names of the classes, and of the images; where these
            are at hand, examples of the most confused pairs are shown.
    """
    read = (source.predictions(cell.run_id) for cell in best.cells if cell.finished and cell.run_id)
    found = [predictions for predictions in read if predictions is not None]
    if not found:
        return None
    frame = confusion_numbers(source.classes(dataset), found)
    pairs = confused_pairs(frame)
    title = f"{dataset}: what the best {what} confuses"
    names = list(dict.fromkeys(frame["label"]))
    sheet = _sheet(dataset, names, pairs, found, source.pixels)
    titles, heights = [best.model], [380]
    if sheet is not None:
        titles.append("Most frequent errors")
        heights.append(len(pairs) * 62)
    drawing = panels(title, titles, heights, between=130, legend=False)
    _matrix(drawing, frame, names)
    if sheet is not None:
        _images(drawing, sheet, pairs)
    total = int(frame["count"].sum())
    wrong = int(frame.loc[frame["label"] != frame["predicted"], "count"].sum())
    runs = f", summed over {len(found)} seeds" if len(found) > 1 else ""
    most = "; ".join(
        f"{row['label']} taken for {row['predicted']} {row['count']} times"
        for row in pairs.head(3).to_dict("records")
    )
    return Figure(
        f"confusion-{dataset.lower()}",
        title,
        f"Test images by true class (down) and predicted class (across) of {best.model}, "
        f"{best.text}, the best on validation{runs}: {wrong:,} of {total:,} are wrong. Colour is "
        "the share of the true class.",
        f"Confusion matrix of {best.model} on {dataset}. Most frequent errors: {most or 'none'}.",
        frame,
        drawing,
    )


def _matrix(drawing: go.Figure, frame: pd.DataFrame, names: list[str]) -> None:
    counts = frame["count"].to_numpy().reshape(len(names), len(names))
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    drawing.add_trace(
        go.Heatmap(
            x=names,
            y=names,
            # The root lets rare errors be seen beside the diagonal.
            z=np.sqrt(share).tolist(),
            text=[[f"{count}" if count else "" for count in row] for row in counts.tolist()],
            texttemplate="%{text}",
            textfont={"size": 10},
            colorscale="Blues",
            zmin=0,
            zmax=1,
            showscale=False,
            xgap=1,
            ygap=1,
            customdata=(100 * share).tolist(),
            hovertemplate="%{y} taken for %{x}: %{text} (%{customdata:.1f}% of its images)"
            "<extra></extra>",
        ),
        row=1,
        col=1,
    )
    # A category axis would take digits for numbers.
    long = any(len(name) > 3 for name in names)
    drawing.update_xaxes(
        row=1,
        type="category",
        title_text="Predicted",
        showgrid=False,
        ticks="",
        tickangle=-45 if long else 0,
        tickfont={"size": 11},
    )
    drawing.update_yaxes(
        row=1,
        type="category",
        title_text="True",
        showgrid=False,
        ticks="",
        autorange="reversed",
        tickfont={"size": 11},
    )


def _sheet(
    dataset: str,
    names: list[str],
    pairs: pd.DataFrame,
    found: list[Predictions],
    pixels: Pixels | None,
) -> NDArray[Any] | None:
    """Return one picture of the examples, a row a pair, six images wide; None without images."""
    if pixels is None:
        return None
    rows = []
    for pair in pairs.to_dict("records"):
        label, predicted = names.index(pair["label"]), names.index(pair["predicted"])
        wrong = [p.index[(p.label == label) & (p.predicted == predicted)] for p in found]
        images = pixels(dataset, np.unique(np.concatenate(wrong))[:_EXAMPLES])
        if images is None:
            return None
        rows.append(images)
    if not rows:
        return None
    height, width = rows[0].shape[1:]
    down, across = height + _GAP, width + _GAP
    sheet = np.full((len(rows) * down - _GAP, _EXAMPLES * across - _GAP), np.nan)
    for row, images in enumerate(rows):
        for column, image in enumerate(images):
            top, left = row * down, column * across
            sheet[top : top + height, left : left + width] = image
    return sheet


def _images(drawing: go.Figure, sheet: NDArray[Any], pairs: pd.DataFrame) -> None:
    drawing.add_trace(
        go.Heatmap(
            z=[[None if np.isnan(v) else int(v) for v in row] for row in sheet],
            colorscale="Greys",
            zmin=0,
            zmax=255,
            showscale=False,
            hoverinfo="skip",
        ),
        row=2,
        col=1,
    )
    rows = pairs.to_dict("records")
    step = (len(sheet) + _GAP) / len(rows)
    drawing.update_xaxes(row=2, visible=False, constrain="domain")
    drawing.update_yaxes(
        row=2,
        autorange="reversed",
        scaleanchor="x2",
        tickmode="array",
        tickvals=[place * step + (step - _GAP) / 2 for place in range(len(rows))],
        ticktext=[f"{r['label']} ({r['count']})<br>→ {r['predicted']}" for r in rows],
        ticks="",
        showgrid=False,
        showline=False,
    )
