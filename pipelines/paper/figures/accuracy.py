"""Figures 1 and 3: test accuracy of the networks over their configurations."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mnist_ops.compare.figures import axes, bars
from mnist_ops.compare.figures.figure import Figure
from mnist_ops.compare.figures.numbers import (
    RANGED,
    known,
    label,
    models_in,
    parts,
    ranged,
    rows_of,
    spread_note,
    table_of,
    varying,
)
from mnist_ops.compare.figures.style import INK, SOFT, panels
from mnist_ops.compare.judged import NOT_JUDGED, Judgements
from mnist_ops.compare.tables.labels import model_label
from mnist_ops.compare.tables.measure import VARIANT
from mnist_ops.compare.tables.table import Table
from mnist_ops.core import keys

from ..looks import colour

_TABLES = {"MNIST": 2, "FashionMNIST": 3}
_QUANTITY = "accuracy_pct"
_NAMES = (keys.OPTIMIZER, keys.LEARNING_RATE, keys.BATCH_SIZE)


def accuracy_numbers(tables: Sequence[Table], judged: Judgements = NOT_JUDGED) -> pd.DataFrame:
    """Return a row per data set, configuration and model, of tables 2 and 3."""
    found = []
    for dataset, number in _TABLES.items():
        table = table_of(tables, number)
        rows = rows_of(table)
        names = [*_NAMES, *varying(rows, (keys.EPOCHS, VARIANT))]
        for place, row in enumerate(rows):
            for model in models_in(table, _QUANTITY):
                name = f"{model}_{_QUANTITY}"
                found.append(
                    {
                        "dataset": dataset,
                        "configuration": label(row, names),
                        "model": model_label(model),
                        **ranged(row, name, judged.get((number, place, name))),
                    }
                )
    return pd.DataFrame(found, columns=["dataset", "configuration", "model", *RANGED])


def accuracy_figure(tables: Sequence[Table], judged: Judgements = NOT_JUDGED) -> Figure:
    """Draw figure 1."""
    frame = accuracy_numbers(tables, judged)
    title = "Test accuracy by configuration"
    by_dataset = parts(frame, "dataset")
    drawing = panels(
        title,
        list(by_dataset),
        [bars.height(f, "configuration", "model") for f in by_dataset.values()],
    )
    for row, of_dataset in enumerate(by_dataset.values(), start=1):
        start, end = axes.percent_range(axes.ends(of_dataset), zero=True)
        bars.grouped_bars(
            drawing,
            of_dataset,
            row=row,
            category="configuration",
            series="model",
            start=start,
            written="%{x:.2f}%",
            colour=colour,
        )
        drawing.update_xaxes(row=row, range=[start, end], title_text=axes.percent_title(start))
    return Figure(
        "figure-01",
        title,
        "Filled marks are measured, hollow diamonds published. A configuration is optimizer, "
        "learning rate and batch size (bs); pin_memory is chosen on validation."
        f"{spread_note(frame)}",
        "Chart of dots or bars: test accuracy of each network in each configuration of optimizer, "
        "learning rate and batch size, a panel a data set, with the published values as markers.",
        frame,
        drawing,
    )


def models_numbers(tables: Sequence[Table], judged: Judgements = NOT_JUDGED) -> pd.DataFrame:
    """Return a row per data set and configuration: ResNet-18 beside ResNet-50, in percent."""
    frame = accuracy_numbers(tables, judged)
    keys_ = ["dataset", "configuration"]
    small, large = (
        frame[frame["model"] == model].drop(columns="model").set_index(keys_)
        for model in ("ResNet-18", "ResNet-50")
    )
    both = small.join(large, how="inner", lsuffix="_18", rsuffix="_50").reset_index()
    names = [f"{name}_{depth}" for depth in ("18", "50") for name in RANGED]
    return both[[*keys_, *names]]


def models_figure(tables: Sequence[Table], judged: Judgements = NOT_JUDGED) -> Figure:
    """Draw figure 3: by how much the smaller network is ahead."""
    frame = models_numbers(tables, judged)
    title = "ResNet-18 against ResNet-50"
    by_dataset = parts(frame, "dataset")
    drawing = panels(title, list(by_dataset), [26 * len(f) + 20 for f in by_dataset.values()])
    for row, of_dataset in enumerate(by_dataset.values(), start=1):
        lead = pd.DataFrame(
            {
                "configuration": of_dataset["configuration"],
                "model": "measured",
                "measured": of_dataset["measured_18"] - of_dataset["measured_50"],
                "published": of_dataset["published_18"] - of_dataset["published_50"],
                "absent": of_dataset["absent_18"].where(
                    of_dataset["absent_18"] != "", of_dataset["absent_50"]
                ),
                "std": np.hypot(of_dataset["std_18"], of_dataset["std_50"]),
                "n": of_dataset[["n_18", "n_50"]].min(axis=1),
            }
        )
        down = np.hypot(
            of_dataset["measured_18"] - of_dataset["low_18"],
            of_dataset["high_50"] - of_dataset["measured_50"],
        )
        up = np.hypot(
            of_dataset["high_18"] - of_dataset["measured_18"],
            of_dataset["measured_50"] - of_dataset["low_50"],
        )
        lead["low"], lead["high"] = lead["measured"] - down, lead["measured"] + up
        drawing.add_vline(x=0, line={"color": SOFT, "width": 1, "dash": "dot"}, row=row, col=1)
        ends = [0.0, *known(axes.ends(lead))]
        room = 0.06 * (max(ends) - min(ends)) + 0.1
        low, high = min(ends) - room, max(ends) + room
        bars.grouped_bars(
            drawing,
            lead,
            row=row,
            category="configuration",
            series="model",
            start=low,
            written="%{x:+.2f} points",
            colour=lambda name: INK,
        )
        drawing.update_xaxes(
            row=row, range=[low, high], title_text="ResNet-18 less ResNet-50 (points)"
        )
    return Figure(
        "figure-03",
        title,
        "Test accuracy of ResNet-18 less that of ResNet-50 in the same configuration: right of the "
        "dotted line ResNet-18 is better. Filled marks are measured, hollow diamonds published."
        f"{spread_note(frame.rename(columns={'low_18': 'low', 'n_18': 'n'}))}",
        "Dots: by how many points ResNet-18 is ahead of ResNet-50 in each configuration, a panel a "
        "data set, with the published differences as markers and a line at zero.",
        frame,
        drawing,
    )
