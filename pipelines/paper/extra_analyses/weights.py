"""Extra analysis: the share of a network's weights that can learn from images of 28x28."""

import pandas as pd
from plotly import graph_objects as go

from mnist_ops.compare.extra_analyses import Topic
from mnist_ops.compare.figures.figure import Figure
from mnist_ops.compare.figures.style import RULE, panels
from mnist_ops.compare.selection import Selection
from mnist_ops.compare.tables.labels import model_label
from mnist_ops.core import keys

from ..looks import colour
from ..studies import RESNET_GRID

_TITLE = "Weights by whether they can learn"
_STEM = "weights-that-never-learn"
_COLUMNS = ["model", "weights", "live", "dead_share"]


def weights_numbers(selection: Selection) -> pd.DataFrame:
    """Return a row per network: its weights, those with a gradient, and the share of the others."""
    found = {}
    for cell in selection.of(RESNET_GRID):
        if {keys.PARAMETERS, keys.LIVE_PARAMETERS} <= cell.metrics.keys():
            weights, live = (cell.metrics[k] for k in (keys.PARAMETERS, keys.LIVE_PARAMETERS))
            model = model_label(str(cell.params.get(keys.MODEL)))
            found[model] = {
                "model": model,
                "weights": int(weights),
                "live": int(live),
                "dead_share": 1 - live / weights,
            }
    return pd.DataFrame(list(found.values()), columns=_COLUMNS)


def weights_topic(selection: Selection) -> Topic | None:
    """Return the numbers of live and dead weights; None if no run logged them."""
    frame = weights_numbers(selection)
    if frame.empty:
        return None
    records = frame.to_dict("records")
    shares = " and ".join(f"{r['dead_share']:.0%} of {r['model']}'s" for r in records)
    return Topic(
        title="Weights that never learn",
        paragraphs=(
            "ResNets are made for images of 224x224. At 28x28 their last layers work on maps of "
            "2x2 pixels and of one: a window of 3x3 on one pixel has eight taps that lie on "
            "padding, always. The weights of such taps are multiplied by zero in every image, get "
            f"a gradient of exactly zero, and stay as they were drawn. These are {shares} weights: "
            "the study counts and compares them as the networks' size. Leaving them out changes no "
            "prediction, and is how the networks are trained here.",
        ),
        head=("Network", "Weights", "That learn", "That never do"),
        rows=tuple(
            (r["model"], f"{r['weights']:,}", f"{r['live']:,}", f"{r['dead_share']:.1%}")
            for r in records
        ),
        align="lrrr",
        figure=_figure(frame),
    )


def _figure(frame: pd.DataFrame) -> Figure:
    drawing = panels(_TITLE, [""], [52 * len(frame)])
    for row in frame.to_dict("records"):
        for name, value, tint in (
            ("learn", row["live"], colour(row["model"])),
            ("never do", row["weights"] - row["live"], RULE),
        ):
            drawing.add_trace(
                go.Bar(
                    orientation="h",
                    name=f"{row['model']}: {name}" if name == "learn" else name,
                    legendgroup=name if name != "learn" else row["model"],
                    showlegend=name == "learn" or row["model"] == frame["model"].iloc[0],
                    x=[value / 1e6],
                    y=[row["model"]],
                    width=0.6,
                    marker={"color": tint, "line": {"width": 0}},
                    text=f"{value / 1e6:.1f} M",
                    textposition="inside",
                    insidetextanchor="middle",
                    hovertemplate=f"{row['model']}, {name}: {value:,} weights<extra></extra>",
                )
            )
    drawing.update_layout(barmode="stack")
    drawing.update_xaxes(title_text="Weights (millions)", rangemode="tozero")
    drawing.update_yaxes(
        categoryorder="array",
        categoryarray=frame["model"].tolist()[::-1],
        showgrid=False,
        ticks="",
    )
    return Figure(
        _STEM,
        _TITLE,
        "Weights of each network, and those among them that only ever meet padding.",
        "Stacked bars of the weights of each network that learn and that never do.",
        frame,
        drawing,
    )
