"""Which classes the best network of a data set takes for which others."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from plotly import graph_objects as go

from mnist_ops.compare.cells import RESNET_GRID
from mnist_ops.compare.figures.figure import Figure
from mnist_ops.compare.figures.style import panels
from mnist_ops.compare.predictions import Predictions, PredictionsOf
from mnist_ops.compare.selection import Selection
from mnist_ops.compare.tables.champions import champion
from mnist_ops.core import keys

CLASSES = {
    "MNIST": tuple("0123456789"),
    "FashionMNIST": (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
}

_PAIRS = 5
_EXAMPLES = 6
_SIDE = 28
# White between images, in their own pixels.
_GAP = 3


# A data set and which of its images -> uint8, shape (n, 28, 28); None where it is not at hand.
Pixels: TypeAlias = Callable[[str, NDArray[np.int32]], NDArray[np.uint8] | None]


def confusion_numbers(dataset: str, found: list[Predictions]) -> pd.DataFrame:
    """How often each class was taken for each, summed over `found`: 100 rows."""
    counts = np.zeros((10, 10), dtype=np.int64)
    for predictions in found:
        np.add.at(counts, (predictions.label, predictions.predicted), 1)
    names = CLASSES[dataset]
    return pd.DataFrame(
        [
            {"label": names[i], "predicted": names[j], "count": int(counts[i, j])}
            for i in range(10)
            for j in range(10)
        ]
    )


def confused_pairs(frame: pd.DataFrame) -> pd.DataFrame:
    """The most frequent errors, at most five: the rows of the frame, most first."""
    errors = frame[(frame["label"] != frame["predicted"]) & (frame["count"] > 0)]
    return errors.sort_values("count", ascending=False, kind="stable").head(_PAIRS)


def confusion_figure(
    selection: Selection, dataset: str, read: PredictionsOf, pixels: Pixels | None = None
) -> Figure | None:
    """The confusion matrix of the data set's champion; None where it left no predictions.

    Args:
        selection: the cells.
        dataset: ``MNIST`` or ``FashionMNIST``.
        read: of the predictions.
        pixels: of the images; where given, examples of the most confused pairs are shown.
    """
    best = champion(selection, RESNET_GRID, dataset, keys.VAL_ACCURACY)
    read_ones = (read(cell.run_id) for cell in best.cells if cell.finished and cell.run_id)
    found = [predictions for predictions in read_ones if predictions is not None]
    if not found:
        return None
    frame = confusion_numbers(dataset, found)
    pairs = confused_pairs(frame)
    title = f"{dataset}: what the best network confuses"
    sheet = None if pixels is None or pairs.empty else _sheet(dataset, pairs, found, pixels)
    titles, heights = [best.model], [380]
    if sheet is not None:
        titles.append("The most frequent errors, with examples")
        heights.append(len(pairs) * 62)
    drawing = panels(title, titles, heights, between=130, legend=False)
    _matrix(drawing, frame, dataset)
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


def _matrix(drawing: go.Figure, frame: pd.DataFrame, dataset: str) -> None:
    names = list(CLASSES[dataset])
    counts = frame["count"].to_numpy().reshape(10, 10)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    drawing.add_trace(
        go.Heatmap(
            x=names,
            y=names,
            # The root lets rare errors be seen beside the diagonal.
            z=np.sqrt(share).tolist(),
            text=[[f"{count}" if count else "" for count in row] for row in counts.tolist()],
            texttemplate="%{text}",
            textfont={"size": 11},
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
    dataset: str, pairs: pd.DataFrame, found: list[Predictions], pixels: Pixels
) -> list[list[float | None]] | None:
    """One picture of the examples, a row a pair, six images across; None without images."""
    names = CLASSES[dataset]
    step = _SIDE + _GAP
    sheet = np.full((len(pairs) * step - _GAP, _EXAMPLES * step - _GAP), np.nan)
    for down, pair in enumerate(pairs.to_dict("records")):
        label, predicted = names.index(pair["label"]), names.index(pair["predicted"])
        wrong = [p.index[(p.label == label) & (p.predicted == predicted)] for p in found]
        index = np.unique(np.concatenate(wrong))[:_EXAMPLES]
        images = pixels(dataset, index)
        if images is None:
            return None
        for across, image in enumerate(images):
            top, left = down * step, across * step
            sheet[top : top + _SIDE, left : left + _SIDE] = image
    return [[None if np.isnan(v) else int(v) for v in row] for row in sheet]


def _images(drawing: go.Figure, sheet: list[list[float | None]], pairs: pd.DataFrame) -> None:
    drawing.add_trace(
        go.Heatmap(
            z=sheet,
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
    step = _SIDE + _GAP
    drawing.update_xaxes(row=2, visible=False, constrain="domain")
    drawing.update_yaxes(
        row=2,
        autorange="reversed",
        scaleanchor="x2",
        tickmode="array",
        tickvals=[place * step + _SIDE / 2 for place in range(len(rows))],
        ticktext=[f"{r['label']}<br>→ {r['predicted']}<br>({r['count']})" for r in rows],
        ticks="",
        showgrid=False,
        showline=False,
    )
