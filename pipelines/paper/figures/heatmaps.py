"""Figures 2a and 2b: test accuracy over every hyper-parameter of the networks."""

import math
from typing import Any

import pandas as pd
from plotly import graph_objects as go

from mnist_ops.compare import published
from mnist_ops.compare.figures.figure import Figure
from mnist_ops.compare.figures.numbers import COMPARED, averaged, known, label, number, parts
from mnist_ops.compare.figures.style import COLOUR_SCALE, ON_COLOUR_SCALE, panels
from mnist_ops.compare.selection import Selection
from mnist_ops.compare.tables.labels import model_label
from mnist_ops.compare.tables.measure import TO_PERCENT, VARIANT, grouped
from mnist_ops.core import keys

from ..printed import PUBLISHED
from ..studies import RESNET_GRID

_STEMS = {"MNIST": "figure-02a", "FashionMNIST": "figure-02b"}
_TABLES = {"MNIST": 2, "FashionMNIST": 3}
_ACROSS = (keys.OPTIMIZER, keys.LEARNING_RATE)
_DOWN = (keys.BATCH_SIZE, keys.EPOCHS, keys.PIN_MEMORY)
_PIXELS_A_ROW = 30
_PINNED = " · pin"


def heatmap_numbers(selection: Selection, dataset: str) -> pd.DataFrame:
    """Return a row per model, row and column of the heatmap: means over seeds, and published rows.

    Rows with pinned memory are left out where every value is that without.

    The published values are those of table 2 or 3, which do not say which pin_memory: they have
    rows of their own.
    """
    cells = [c for c in selection.of(RESNET_GRID) if c.params.get(keys.DATASET) == dataset]
    groups = grouped(cells, lambda c: (*c.key(keys.MODEL, *_DOWN, *_ACROSS), c.variant))
    found: list[dict[str, Any]] = []
    for (model, batch, epochs, pin, optimizer, rate, variant), group in groups.items():
        named = {
            keys.BATCH_SIZE: batch,
            keys.EPOCHS: epochs,
            VARIANT: variant,
            keys.OPTIMIZER: optimizer,
            keys.LEARNING_RATE: rate,
        }
        row = label(named, (keys.BATCH_SIZE, keys.EPOCHS, VARIANT))
        found.append(
            {
                "order": (str(model), str(batch), epochs or 0, variant, bool(pin)),
                "model": model_label(str(model)),
                "row": f"{row}{_PINNED}" if pin else row,
                "column": label(named, _ACROSS),
                **averaged(group, keys.TEST_ACCURACY, scale=TO_PERCENT),
            }
        )
    table = _TABLES[dataset]
    for fields in PUBLISHED.rows(table, keys.MODEL, *_DOWN, *_ACROSS):
        named = dict(zip((keys.MODEL, *_DOWN, *_ACROSS), fields, strict=True))
        model, batch, epochs = (named[name] for name in (keys.MODEL, *_DOWN[:2]))
        found.append(
            {
                # Below the rows of its own length and batch size.
                "order": (str(model), str(batch), epochs, "~", True),
                "model": model_label(str(model)),
                "row": f"{label(named, _DOWN[:2])} · published",
                "column": label(named, _ACROSS),
                **averaged([], "", PUBLISHED.value(table, published.ACCURACY, **named)),
                "absent": "",
            }
        )
    found = _without_repeats(found)
    found.sort(key=lambda row: row["order"])
    return pd.DataFrame(found, columns=["model", "row", "column", *COMPARED])


def _without_repeats(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    values: dict[tuple[str, str], dict[str, str]] = {}
    for entry in found:
        shown = f"{entry['measured']:.2f}{entry['absent']}"
        values.setdefault((entry["model"], entry["row"]), {})[entry["column"]] = shown
    repeats = {
        (model, row)
        for (model, row), of_row in values.items()
        if row.endswith(_PINNED) and values.get((model, row.removesuffix(_PINNED))) == of_row
    }
    return [entry for entry in found if (entry["model"], entry["row"]) not in repeats]


def heatmap_figure(selection: Selection, dataset: str) -> Figure:
    """Draw figure 2a or 2b."""
    frame = heatmap_numbers(selection, dataset)
    title = f"{dataset}: test accuracy (%) over the hyper-parameters"
    by_model = parts(frame, "model")
    drawing = panels(
        title,
        list(by_model),
        [of_model["row"].nunique() * _PIXELS_A_ROW for of_model in by_model.values()],
        between=72,
        legend=False,
    )
    values = known([*frame["measured"], *frame["published"]])
    for row, of_model in enumerate(by_model.values(), start=1):
        # In two lines, as four of them have to fit on a phone.
        ticks = [name.replace(" · ", "<br>") for name in dict.fromkeys(of_model["column"])]
        across = list(dict.fromkeys(of_model["column"]))
        down = list(dict.fromkeys(of_model["row"]))
        shown: dict[tuple[str, str], tuple[float, str]] = {}
        for entry in of_model.to_dict("records"):
            value = number(entry["measured"])
            value = number(entry["published"]) if math.isnan(value) else value
            text = str(entry["absent"]).partition(":")[0] if math.isnan(value) else f"{value:.2f}"
            shown[entry["row"], entry["column"]] = (value, text)
        drawing.add_trace(
            go.Heatmap(
                x=across,
                y=down,
                z=[[_value(shown, d, a) for a in across] for d in down],
                text=[[shown.get((d, a), (0, ""))[1] for a in across] for d in down],
                texttemplate="%{text}",
                textfont={"size": 11, "color": ON_COLOUR_SCALE},
                coloraxis="coloraxis",
                xgap=2,
                ygap=2,
                hovertemplate="%{y}<br>%{x}<br>%{text}%<extra></extra>",
            ),
            row=row,
            col=1,
        )
        drawing.update_yaxes(row=row, autorange="reversed", showgrid=False, ticks="")
        drawing.update_xaxes(
            row=row,
            showgrid=False,
            ticks="",
            tickangle=0,
            tickmode="array",
            tickvals=across,
            ticktext=ticks,
        )
    drawing.update_layout(
        coloraxis={
            "colorscale": list(COLOUR_SCALE),
            "cmin": min(values, default=0),
            "cmax": max(values, default=100),
            # Every value is written in its cell.
            "showscale": False,
        },
    )
    return Figure(
        _STEMS[dataset],
        title,
        "Down: batch size (bs), epochs (ep) and whether memory is pinned (pin: where that changed "
        "any value); across: optimizer and learning rate. Rows named published are the study's.",
        f"Heatmap: test accuracy on {dataset} of each network over batch size, epochs and pinned "
        "memory down, optimizer and learning rate across, with the published values in their "
        "own rows.",
        frame,
        drawing,
    )


def _value(shown: dict[tuple[str, str], tuple[float, str]], down: str, across: str) -> float | None:
    value = shown.get((down, across), (math.nan, ""))[0]
    return None if math.isnan(value) else value
