"""Extra analysis: the published differences that are no larger than seed noise.

The study ran each configuration once. Two runs of one configuration with other seeds and images
differ 95% of the time by less than

    t * s * sqrt(2)        s: standard deviation of the configuration's seeds, or with too few seeds
                           that of similar configurations; t: Student's quantile
    w * sqrt(2)            if that is larger; w: half of Wilson's interval, for the randomness of
                           the test images, without that of the training

and two equally good configurations by less than the root mean square of both. Runs with the same
test images differ by somewhat less; whether the study's runs had the same ones is unknown.
"""

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

import pandas as pd
from plotly import graph_objects as go

from mnist_ops.compare import published, statistics
from mnist_ops.compare.extra_analyses import Topic
from mnist_ops.compare.figures import axes
from mnist_ops.compare.figures.figure import Figure
from mnist_ops.compare.figures.style import INK, RULE, SOFT, panels, published_marker
from mnist_ops.compare.published import Number
from mnist_ops.compare.seed_noise import (
    ACCURACY,
    BASES,
    IMAGES,
    LIKE_IT,
    Chance,
    chance,
    fewest_images,
)
from mnist_ops.compare.selection import Selection
from mnist_ops.compare.tables.measure import TO_PERCENT, values_of
from mnist_ops.core import keys

from ..printed import PUBLISHED
from ..studies import RESNET_GRID, SVM_GRID

# Setting -> its name in the report, and the tables with several of its values.
_AXES: Mapping[str, tuple[str, tuple[int, ...]]] = {
    keys.PIN_MEMORY: ("pin_memory, on or off", (4,)),
    keys.BATCH_SIZE: ("Batch size, 16 or 32", (2, 3)),
    keys.MODEL: ("ResNet-18 or ResNet-50", (2, 3)),
    keys.OPTIMIZER: ("SGD or Adam", (2, 3)),
    keys.LEARNING_RATE: ("Learning rate, 0.001 or 0.0001", (2, 3)),
    keys.EPOCHS: ("Epochs, 2 or 5", (4,)),
    keys.GAMMA: ("SVM: gamma, scale or auto", (5, 6)),
    keys.KERNEL: ("SVM: kernel, rbf or poly", (5, 6)),
    keys.C: ("SVM: C, ten times as high", (5, 6)),
}
_TITLE = "Published differences, and what chance makes"
_STEM = "differences-against-noise"
_COLUMNS = ["axis", "description", "difference", "noise", "basis"]


def noise_numbers(selection: Selection) -> pd.DataFrame:
    """Return a row per pair of published accuracies that differ in one setting.

    ``difference`` and ``noise`` are in percentage points; the noise is missing if a side was not
    measured. ``basis`` is the source of the noise, for the side with the weaker one.
    """
    found: list[dict[str, Any]] = []
    for axis, (name, tables) in _AXES.items():
        for first, second in _pairs(axis, tables):
            chances = [_chance(selection, number) for number in (first, second)]
            known = [chance for chance in chances if chance is not None]
            both = len(known) == len(chances)
            found.append(
                {
                    "axis": name,
                    "description": ", ".join(str(v) for k, v in first.fields.items() if k != axis),
                    "difference": abs(first.value - second.value),
                    "noise": math.hypot(*(c.apart for c in known)) / math.sqrt(2)
                    if both
                    else math.nan,
                    "basis": max((c.basis for c in known), key=BASES.index) if both else "",
                }
            )
    return pd.DataFrame(found, columns=_COLUMNS)


def noise_topic(selection: Selection) -> Topic | None:
    """Return the published differences against seed noise; None without measurements."""
    frame = noise_numbers(selection)
    measured = frame[frame["noise"].notna()]
    if measured.empty:
        return None
    within = measured["difference"] <= measured["noise"]
    rows = []
    for axis, part in measured.groupby("axis", sort=False):
        by_chance = int((part["difference"] <= part["noise"]).sum())
        rows.append(
            (
                str(axis),
                str(len(part)),
                f"{median(part['difference']):.2f}",
                f"{median(part['noise']):.2f}",
                f"{by_chance} of {len(part)}",
            )
        )
    bases = Counter(measured["basis"])
    qualified = "".join(
        f" For {bases[basis]} of the differences a side has {lacking}."
        for basis, lacking in (
            (
                LIKE_IT,
                "fewer than five seeds: there the noise is that of all seeds of the same network, "
                "data set and epochs, or of the same SVM's kernel and C",
            ),
            (
                IMAGES,
                "one seed, or seeds that lie closer together than their test images make likely: "
                "there the noise is that of the test images alone, the least that it can be",
            ),
        )
        if bases[basis]
    )
    return Topic(
        title="Differences that are seed noise",
        paragraphs=(
            "The study ran every configuration once, and reads differences between two runs as "
            "differences between two settings. But a run that is repeated with another seed gives "
            "another number. Two runs of the very same configuration differ by the noise below or "
            f"less, 95 times in 100. {int(within.sum())} of the {len(measured)} differences that "
            "the study prints between neighbouring settings, and that these runs can judge, are "
            f"no larger than that: a second try could turn them round.{qualified}",
            *_best_of_two(),
        ),
        head=(
            "Two settings",
            "Differences printed",
            "Their median (points)",
            "Noise (points)",
            "No larger than noise",
        ),
        rows=tuple(rows),
        align="lrrrr",
        figure=_figure(measured),
    )


def _pairs(axis: str, tables: tuple[int, ...]) -> Iterator[tuple[Number, Number]]:
    """Yield pairs of accuracies of a table that differ in adjacent values of `axis` only."""
    groups: dict[tuple[Any, ...], list[Number]] = {}
    for number in PUBLISHED.numbers:
        if number.table in tables and number.metric == published.ACCURACY:
            others = tuple((k, v) for k, v in number.fields.items() if k != axis)
            groups.setdefault((number.table, *others), []).append(number)
    for group in groups.values():
        if all(isinstance(number.fields[axis], int | float) for number in group):
            group.sort(key=lambda number: float(number.fields[axis]))
        yield from itertools.pairwise(group)


def _best_of_two() -> tuple[str, ...]:
    """Return a paragraph if tables 2 and 3 print the better of the runs that table 4 repeats."""
    printed = {
        tuple(number.fields.items()): number.value
        for number in PUBLISHED.numbers
        if number.table in (2, 3) and number.metric == published.ACCURACY
    }
    twice = []
    for pair in _pairs(keys.PIN_MEMORY, (4,)):
        configuration = tuple((k, v) for k, v in pair[0].fields.items() if k != keys.PIN_MEMORY)
        if configuration in printed:
            twice.append((printed[configuration], [number.value for number in pair]))
    if not twice or any(once != max(both) for once, both in twice):
        return ()
    examples = ", ".join(f"{max(both):.2f} and not {min(both):.2f}" for _, both in twice)
    return (
        f"Table 4 has two runs of {len(twice)} of the configurations of tables 2 and 3, one with "
        f"pinned memory and one without. These tables print the better one each time: {examples}. "
        "The better of two equal runs lies above their mean, by 0.56 of their deviation in the "
        "long run: a mean of repeats is to come out a little lower than such tables.",
    )


def _chance(selection: Selection, number: Number) -> Chance | None:
    study = SVM_GRID if number.fields.get(keys.MODEL) == "svm" else RESNET_GRID
    usual = {keys.PIN_MEMORY: False} if study == RESNET_GRID else {}
    wanted: dict[str, Any] = usual | dict(number.fields)
    cells = [
        cell
        for cell in selection.of(study)
        if cell.finished
        and not cell.variant
        and all(cell.params.get(name) == value for name, value in wanted.items())
    ]
    values = values_of(cells, keys.TEST_ACCURACY, TO_PERCENT)
    if not values:
        return None
    own = statistics.mean_interval(values)
    return chance(selection, wanted, ACCURACY, own, fewest_images(cells))


def _figure(frame: pd.DataFrame) -> Figure:
    names = list(dict.fromkeys(frame["axis"]))
    drawing = panels(_TITLE, [""], [44 * len(names) + 20])
    nth = frame.groupby("axis").cumcount()
    abreast = frame.groupby("axis")["axis"].transform("size")
    centre = frame["axis"].map({name: place for place, name in enumerate(names)})
    places = centre + ((nth + 0.5) / abreast - 0.5) * 0.76
    within = frame["difference"] <= frame["noise"]
    drawing.add_trace(
        go.Bar(
            orientation="h",
            name="noise: two runs of one configuration",
            x=frame["noise"].tolist(),
            y=places.tolist(),
            width=(0.76 / abreast).tolist(),
            marker={"color": RULE, "line": {"width": 0}},
            hoverinfo="skip",
        )
    )
    for name, chosen, marker in (
        ("no larger than noise", within, published_marker(SOFT, "diamond", 8)),
        ("larger", ~within, {"symbol": "diamond", "color": INK, "size": 8}),
    ):
        part = frame[chosen]
        drawing.add_trace(
            go.Scatter(
                mode="markers",
                name=name,
                x=part["difference"].tolist() or [None],
                y=places[chosen].tolist() or [None],
                marker=marker,
                text=part["description"].tolist(),
                hovertemplate="%{text}<br>published difference %{x:.2f} points<extra></extra>",
            )
        )
    low = 0.01
    _, high = axes.time_range([*frame["difference"], *frame["noise"]])
    drawing.update_xaxes(
        type="log",
        range=[math.log10(low), high],
        dtick=1,
        title_text="Points, logarithmic",
    )
    drawing.update_yaxes(
        tickmode="array",
        tickvals=list(range(len(names))),
        ticktext=names,
        range=[len(names) - 0.5, -0.5],
        showgrid=False,
        ticks="",
    )
    return Figure(
        _STEM,
        _TITLE,
        "A diamond is the difference of two published accuracies that differ in one setting; its "
        "grey bar is what two runs of the same configuration differ by, 95 times in 100. Hollow "
        "diamonds lie within it. Differences below 0.01 points are not drawn.",
        "Published differences between neighbouring settings, a row a setting, each with a bar "
        "of the difference that chance alone makes.",
        frame.reset_index(drop=True),
        drawing,
    )
