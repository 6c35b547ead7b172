"""Every published number beside the measured one, and whether they agree.

The measured values are those of the tables, so that no number has two derivations; here they get
their ranges. The published number is one draw of seed and images, as is each measured one, so they
agree where it lies where a repeat of the measurement falls 95% of the time (see `chance`).
Counts agree where they round to the printed digits. What depends on the machine is compared, and
never held against it.

The study says how many images it tested on, and not from where they are. Where a number disagrees,
and the same cells were run with the official test images kept apart, what these give stands beside
it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mnist_ops.compare import published, statistics
from mnist_ops.compare.cells import DEVICE_COMPARE, RESNET_GRID, SVM_GRID
from mnist_ops.compare.findings.evidence import Evidence
from mnist_ops.compare.findings.svms import gain
from mnist_ops.compare.predictions import PredictionsOf, no_predictions
from mnist_ops.compare.presets import STUDIES
from mnist_ops.compare.published import Number
from mnist_ops.compare.render import csv_text
from mnist_ops.compare.seed_noise import ACCURACY, F1, Score, chance, fewest_images
from mnist_ops.compare.selection import Selection
from mnist_ops.compare.statistics import Interval, Mean
from mnist_ops.compare.tables.champions import CHOSEN_ON
from mnist_ops.compare.tables.labels import configuration, model_label
from mnist_ops.compare.tables.measure import VARIANT
from mnist_ops.compare.tables.table import Table, Value
from mnist_ops.core import keys

# The columns of the frame.
COLUMNS = (
    "table",
    "description",
    "metric",
    "unit",
    "published",
    "measured",
    "difference",
    "low",
    "high",
    "agrees",
    "agrees_official",
    "official",
    "official_low",
    "official_high",
    "note",
)

# Column -> that of the same numbers on the official test images.
_OFFICIAL: Mapping[str, str] = {
    "agrees_official": "agrees",
    "official": "measured",
    "official_low": "low",
    "official_high": "high",
}

YES = "yes"
NO = "no"
NOT_COMPARABLE = "not comparable"
NOT_MEASURED = "not measured"

_VALIDATION, _ON_TEST = CHOSEN_ON

_PERCENT, _POINTS, _SECONDS = "%", "points", "s"
_MILLIONS, _TIMES = "M", "\N{MULTIPLICATION SIGN}"
_HARDWARE = "depends on the hardware"

# Metric of a published number -> name of the quantity in the tables, and unit.
_QUANTITIES: Mapping[str, tuple[str, str]] = {
    published.ACCURACY: ("accuracy_pct", _PERCENT),
    published.F1: ("f1", ""),
    published.TRAIN_TIME_S: ("train_time_s", _SECONDS),
    published.IMPROVEMENT: ("improvement_points", _POINTS),
    published.SPEEDUP: ("speedup", _TIMES),
    published.PARAMETERS: ("parameters_millions", _MILLIONS),
    published.FLOPS: ("flops_millions", _MILLIONS),
    published.RELATIVE_COMPLEXITY: ("relative_complexity", _TIMES),
}


_SCORES: Mapping[str, Score] = {published.ACCURACY: ACCURACY, published.F1: F1}


@dataclass(frozen=True)
class _Place:
    """Where the tables keep the measured value of a published number.

    Attributes:
        keys: column -> value, of the row.
        name: of the quantity: its columns are ``<name>_measured``, ``_std`` and ``_n``.
        unit: of both numbers.
        divisor: of the published number, to give this unit.
    """

    keys: Mapping[str, Any]
    name: str
    unit: str
    divisor: float = 1.0

    def find(self, table: Table, **others: Any) -> dict[str, Value]:
        """The row's values by what they are: ``measured``, ``std``, ``n`` and others.

        `others` replaces keys; empty where there is no such row.
        """
        wanted = {VARIANT: ""} | dict(self.keys) | others
        for row in table.frame.to_dict("records"):
            # Table 7 names the model that is best, which need not be the study's.
            row["is_svm"] = row.get("method") == "SVM"
            if all(row.get(name, value) == value for name, value in wanted.items()):
                prefix = f"{self.name}_"
                return {
                    str(name).removeprefix(prefix): value
                    for name, value in row.items()
                    if str(name).startswith(prefix)
                }
        return {}


def agreement(
    selection: Selection, tables: Sequence[Table], predictions: PredictionsOf = no_predictions
) -> pd.DataFrame:
    """One row a published number, in the study's order; columns as of `COLUMNS`.

    ``published``, ``measured`` and ``difference`` (measured less published) are in ``unit``;
    ``low`` and ``high`` are where a repeat falls 95% of the time. Numbers that are not there are
    missing (NaN), and ``note`` says why.
    """
    by_number = {table.number: table for table in tables}
    evidence = Evidence(selection, predictions)
    rows = [_row(number, by_number[number.table], evidence) for number in published.numbers()]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    numeric = ["published", "measured", "difference", "low", "high"]
    numeric += ["official", "official_low", "official_high"]
    return frame.astype(dict.fromkeys(numeric, "float64"))


def with_official(frame: pd.DataFrame, official: pd.DataFrame) -> pd.DataFrame:
    """`frame`, with what the official test images say where it disagrees.

    Args:
        frame: as of `agreement`.
        official: the same of the cells that were tested on official test images.

    Returns:
        The frame with ``agrees_official`` filled in where there is such a number, ``official``
        with the number, ``official_low`` and ``official_high`` with its range.
    """
    frame = frame.copy()
    judged = (frame["agrees"] == NO) & official["agrees"].isin([YES, NO])
    for ours, theirs in _OFFICIAL.items():
        frame.loc[judged, ours] = official.loc[judged, theirs]
    return frame


def to_csv(frame: pd.DataFrame) -> str:
    """The frame as CSV, numbers to six significant digits."""
    return csv_text(frame, float_format="%.6g")


def _row(number: Number, table: Table, evidence: Evidence) -> dict[str, Any]:
    place = _place(number)
    found = place.find(table)
    printed = number.value / place.divisor
    row: dict[str, Any] = {
        "table": number.table,
        "description": _description(number),
        "metric": number.metric,
        "unit": place.unit,
        "published": printed,
        "measured": None,
        "difference": None,
        "low": None,
        "high": None,
        "agrees_official": "",
    }
    measured = found.get("measured", "")
    if isinstance(measured, str):
        return row | {"agrees": NOT_MEASURED, "note": measured or "not in the tables"}
    row |= {"measured": measured, "difference": measured - printed}
    notes = [_size_note(number, evidence), _choice_note(table, place, found)]
    if number.metric in (published.TRAIN_TIME_S, published.SPEEDUP):
        return row | {"agrees": NOT_COMPARABLE, "note": _joined(_HARDWARE, *notes)}
    if number.table == 10:
        same = round(measured, number.decimals) == round(printed, number.decimals)
        return row | {
            "agrees": YES if same else NO,
            "note": "a count: compared to the last printed digit",
        }
    judged = _range(number, measured, found, evidence)
    if judged is None:
        why = "no range to judge by: needs several seeds"
        return row | {"agrees": NOT_COMPARABLE, "note": _joined(why, *notes)}
    (low, high), basis = judged
    # Half a unit of the last printed digit is rounding, not difference.
    half = 0.5 * 10**-number.decimals
    agrees = low - half <= printed <= high + half
    if not agrees:
        notes.append(basis)
    return row | {
        "low": low,
        "high": high,
        "agrees": YES if agrees else NO,
        "note": _joined(*notes),
    }


def _place(number: Number) -> _Place:
    fields = dict(number.fields)
    model = str(fields.get(keys.MODEL, ""))
    dataset = str(fields.get(keys.DATASET, ""))
    quantity, unit = _QUANTITIES.get(number.metric, ("", ""))

    def row(*names: str) -> dict[str, Any]:
        return {name: fields[name] for name in names}

    by_batch = (keys.BATCH_SIZE, keys.OPTIMIZER, keys.LEARNING_RATE, keys.EPOCHS)
    match number.table:
        case 2 | 3:
            return _Place(row(*by_batch), f"{model}_{quantity}", unit)
        case 4:
            names = (keys.BATCH_SIZE, keys.OPTIMIZER, keys.PIN_MEMORY, keys.EPOCHS)
            return _Place(row(*names), quantity, unit)
        case 5 | 6:
            return _Place(row(keys.KERNEL, keys.C, keys.GAMMA), quantity, unit)
        case 7:
            where = {keys.DATASET: dataset, "is_svm": model == "svm"}
            return _Place(where | {"chosen_on": _VALIDATION}, quantity, unit)
        case 11:
            task = f"{dataset} ({'SVM' if model == 'svm' else 'Deep Learning'})"
            return _Place({"task": task, "chosen_on": _VALIDATION}, quantity, unit)
        case 8:
            device = {keys.DEVICE: str(fields[keys.DEVICE]).upper()}
            return _Place(row(*by_batch) | device, f"{model}_{quantity}", unit)
        case 9:
            if keys.DEVICE in fields:
                quantity = f"{'cpu' if fields[keys.DEVICE] == 'cpu' else 'gpu'}_time_s"
            return _Place(row(*by_batch) | {keys.MODEL: model_label(model)}, quantity, unit)
        case _:
            divisor = 1e6 if unit == _MILLIONS else 1.0
            return _Place({keys.MODEL: model_label(model)}, quantity, unit, divisor)


def _range(
    number: Number, measured: float, found: Mapping[str, Value], evidence: Evidence
) -> tuple[Interval, str] | None:
    """Where a repeat falls, and what that rests on."""
    if number.metric == published.IMPROVEMENT:
        test = gain(evidence, str(number.fields[keys.DATASET]))
        if test is None or test.interval is None:
            return None
        return statistics.repeated(measured, test.interval), ""
    n, deviation = found.get("n", 1), found.get("std", "")
    own = Mean(
        measured,
        deviation if isinstance(deviation, float) else None,
        None,
        n if isinstance(n, int) else 1,
    )
    score = _SCORES[number.metric]
    cells = evidence.cells(_study(number), dataset=number.fields[keys.DATASET])
    known = chance(evidence.selection, number.fields, score, own, fewest_images(cells))
    if known is None:
        return None
    low, high = known.of_another
    # No score is below 0 or above 1, wherever Student's bell ends.
    return (max(low, 0.0), min(high, score.scale)), known.text


def _study(number: Number) -> str:
    if number.table in (8, 9):
        return DEVICE_COMPARE
    return SVM_GRID if number.fields.get(keys.MODEL) == "svm" else RESNET_GRID


def _description(number: Number) -> str:
    """Which number it is, in the tables' words."""
    fields = dict(number.fields)
    model = str(fields.get(keys.MODEL, ""))
    device = {"cpu": "CPU", "cuda": "GPU"}.get(str(fields.get(keys.DEVICE)), "")
    setting = configuration(fields) if {keys.OPTIMIZER, keys.KERNEL} & fields.keys() else ""
    parts = [str(fields.get(keys.DATASET, "")), model_label(model), setting, device]
    return ", ".join(part for part in parts if part)


def _size_note(number: Number, evidence: Evidence) -> str:
    """That the runs are not as large as the study's, where they are not."""
    preset = evidence.selection.preset
    family = "svm" if _study(number) == SVM_GRID else "resnet"
    same = preset in STUDIES[family].same_size("paper")
    return "" if same else f"not the study's size ({evidence.scope})"


def _choice_note(table: Table, place: _Place, found: Mapping[str, Value]) -> str:
    """What the study's own choice, the best on test, comes to, where that is another number."""
    if "chosen_on" in place.keys:
        on_test = place.find(table, chosen_on=_ON_TEST).get("measured", "")
    else:
        on_test = found.get("best_on_test", "")
    if isinstance(on_test, str) or on_test == found["measured"]:
        return ""
    return f"chosen on validation; best on test, the study's way: {on_test:.4g}"


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)
