"""Extra analysis: the gain of SVMs from all training images, of which the study used a fifth."""

from dataclasses import dataclass
from statistics import fmean
from typing import Any

import pandas as pd
from plotly import graph_objects as go

from mnist_ops.compare import statistics
from mnist_ops.compare.cells import Cell
from mnist_ops.compare.extra_analyses import Topic
from mnist_ops.compare.figures import axes
from mnist_ops.compare.figures.figure import Figure
from mnist_ops.compare.figures.numbers import entity
from mnist_ops.compare.figures.style import RULE, SOFT, panels
from mnist_ops.compare.headlines import with_interval
from mnist_ops.compare.selection import Selection
from mnist_ops.compare.tables.champion import Champion, champion
from mnist_ops.compare.tables.labels import configuration
from mnist_ops.compare.tables.measure import TO_PERCENT, grouped, values_of
from mnist_ops.core import keys

from ..looks import colour
from ..studies import DATASETS, RESNET_GRID, SVM_GRID

_TITLE = "Accuracy of the SVMs by number of images"
_STEM = "svms-on-all-images"
_CONFIGURATION = (keys.DATASET, keys.KERNEL, keys.C, keys.GAMMA)
_COLUMNS = ["dataset", "kernel", "configuration", "fewer", "all", "seeds"]


@dataclass(frozen=True)
class _Gain:
    """An SVM at both sizes, the same seeds in the same order; accuracies in percent."""

    params: dict[str, Any]
    fewer: list[float]
    whole: list[float]


def all_images_topic(selection: Selection, whole: Selection | None) -> Topic | None:
    """Return the gain of each SVM from all images; None if no SVM ran at both sizes.

    Args:
        selection: the cells of the report.
        whole: those of the size at which SVMs see all images.
    """
    gains = _gains(selection, whole) if whole is not None else []
    if not gains or whole is None:
        return None
    n_fewer, n_all = (_images(s) for s in (selection, whole))
    lines = [line for dataset in DATASETS if (line := _best(selection, whole, dataset))]
    return Topic(
        title="Support vector machines on all training images",
        paragraphs=(
            f"The study gives its networks 49,000 images and its support vector machines "
            f"{n_fewer:,}, and concludes that networks are more accurate. Here the same SVMs "
            f"are fitted to {n_all:,}, as the networks are, and tested on as many as these.",
            *lines,
        ),
        head=(
            "Data set",
            "SVM",
            f"{n_fewer:,} images (%)",
            f"{n_all:,} images (%)",
            "Gain (points)",
        ),
        rows=tuple(_row(gain) for gain in gains),
        align="llrrr",
        figure=_figure(gains, n_fewer, n_all),
    )


def _gains(selection: Selection, whole: Selection) -> list[_Gain]:
    fewer, all_ = (
        grouped(
            [cell for cell in chosen.of(SVM_GRID) if cell.finished],
            lambda cell: cell.key(*_CONFIGURATION),
        )
        for chosen in (selection, whole)
    )
    gains = []
    for key, cells in fewer.items():
        ours, theirs = _by_seed(cells), _by_seed(all_.get(key, []))
        seeds = sorted(ours.keys() & theirs.keys())
        if seeds:
            gains.append(
                _Gain(
                    dict(cells[0].params),
                    values_of([ours[seed] for seed in seeds], keys.TEST_ACCURACY, TO_PERCENT),
                    values_of([theirs[seed] for seed in seeds], keys.TEST_ACCURACY, TO_PERCENT),
                )
            )
    return gains


def _by_seed(cells: list[Cell]) -> dict[Any, Cell]:
    return {cell.params.get(keys.SEED): cell for cell in cells}


def _row(gain: _Gain) -> tuple[str, ...]:
    found = statistics.paired([b - a for a, b in zip(gain.fewer, gain.whole, strict=True)])
    return (
        str(gain.params[keys.DATASET]),
        configuration(gain.params),
        f"{fmean(gain.fewer):.2f}",
        f"{fmean(gain.whole):.2f}",
        with_interval(found.effect, found.interval, "", "+"),
    )


def _best(selection: Selection, whole: Selection, dataset: str) -> str:
    """Return a sentence on the lead of the networks on a data set; empty if not measured."""
    network, fewer, all_ = (
        champion(chosen, study, dataset, keys.VAL_ACCURACY)
        for chosen, study in ((selection, RESNET_GRID), (selection, SVM_GRID), (whole, SVM_GRID))
    )
    if not (fewer.model and all_.model):
        return ""
    before, after = (
        fmean(values_of(c.cells, keys.TEST_ACCURACY, TO_PERCENT)) for c in (fewer, all_)
    )
    text = (
        f"{dataset}: the best SVM, chosen on validation, reaches {after:.2f}% ({all_.text}; "
        f"{_seeds(all_)}) in place of {before:.2f}%."
    )
    if not network.model:
        return text
    best = fmean(values_of(network.cells, keys.TEST_ACCURACY, TO_PERCENT))
    return (
        f"{text} The best network, {network.model} with {best:.2f}% ({_seeds(network)}), is "
        f"{_lead(best - after)} it, and {_lead(best - before)} the SVM with fewer images."
    )


def _seeds(chosen: Champion) -> str:
    count = sum(cell.finished for cell in chosen.cells)
    return f"{count} seed{'' if count == 1 else 's'}"


def _lead(points: float) -> str:
    return f"{abs(points):.2f} points {'ahead of' if points >= 0 else 'behind'}"


def _images(selection: Selection) -> int:
    cells = [cell for cell in selection.of(SVM_GRID) if cell.finished]
    return max((int(cell.params.get(keys.N_TRAIN, 0)) for cell in cells), default=0)


def _figure(gains: list[_Gain], n_fewer: int, n_all: int) -> Figure:
    frame = pd.DataFrame(
        [
            {
                "dataset": gain.params[keys.DATASET],
                "kernel": entity(gain.params),
                "configuration": configuration(gain.params),
                "fewer": fmean(gain.fewer),
                "all": fmean(gain.whole),
                "seeds": len(gain.fewer),
            }
            for gain in gains
        ],
        columns=_COLUMNS,
    )
    datasets = [name for name in DATASETS if (frame["dataset"] == name).any()]
    heights = [22 * int((frame["dataset"] == name).sum()) + 20 for name in datasets]
    drawing = panels(_TITLE, datasets, heights)
    for row, dataset in enumerate(datasets, start=1):
        panel = frame[frame["dataset"] == dataset]
        for line in panel.to_dict("records"):
            drawing.add_trace(
                go.Scatter(
                    mode="lines",
                    x=[line["fewer"], line["all"]],
                    y=[line["configuration"]] * 2,
                    line={"color": RULE, "width": 4},
                    showlegend=False,
                    hoverinfo="skip",
                ),
                row=row,
                col=1,
            )
        for column, name, tint in (
            ("fewer", f"{n_fewer:,} images", lambda kernel: SOFT),
            ("all", f"{n_all:,} images", colour),
        ):
            for kernel, points in panel.groupby("kernel", sort=False):
                label = name if column == "fewer" else f"{name}, {kernel}"
                drawing.add_trace(
                    go.Scatter(
                        mode="markers",
                        name=label,
                        legendgroup=label,
                        showlegend=row == 1
                        and (column == "all" or kernel == panel["kernel"].iloc[0]),
                        x=points[column].tolist(),
                        y=points["configuration"].tolist(),
                        marker={"color": tint(str(kernel)), "size": 9},
                        hovertemplate=f"%{{y}}<br>{name}: %{{x:.2f}}%<extra></extra>",
                    ),
                    row=row,
                    col=1,
                )
        start, end = axes.percent_range([*panel["fewer"], *panel["all"]])
        drawing.update_xaxes(row=row, range=[start, end], title_text=axes.percent_title(start))
        drawing.update_yaxes(
            row=row,
            categoryorder="array",
            categoryarray=panel["configuration"].tolist()[::-1],
            showgrid=False,
            ticks="",
        )
    return Figure(
        _STEM,
        _TITLE,
        f"From the accuracy with {n_fewer:,} training images, as in the study, to that with "
        f"{n_all:,}; means over common seeds.",
        "Accuracy of every support vector machine with the study's number of training images and "
        "with all, a panel a data set.",
        frame,
        drawing,
    )
