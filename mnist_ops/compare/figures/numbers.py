"""From tables and cells to the rows of a figure's frame."""

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

import pandas as pd

from mnist_ops.compare.cells import Cell
from mnist_ops.compare.judged import Judgement
from mnist_ops.compare.tables.labels import model_label
from mnist_ops.compare.tables.measure import absence, values_of
from mnist_ops.compare.tables.table import Table, Value
from mnist_ops.core import keys

# What a frame says of a quantity: mean and deviation over n repetitions, the published value, and
# the word that stands where nothing was measured.
COMPARED = ("measured", "std", "n", "published", "absent")

# The same, with where a repeat of the measurement falls 95% of the time.
RANGED = (*COMPARED, "low", "high")

NO_NUMBER = math.nan

_MEASURED = "_measured"
_SHORT = {
    keys.OPTIMIZER: "{}",
    keys.LEARNING_RATE: "{}",
    keys.BATCH_SIZE: "bs {}",
    keys.EPOCHS: "{} ep",
    "variant": "{}",
}


def table_of(tables: Iterable[Table], number: int) -> Table:
    """Return the table with this number."""
    return next(table for table in tables if table.number == number)


def rows_of(table: Table) -> list[dict[str, Value]]:
    """Return the table's rows by column name."""
    return [{str(k): v for k, v in row.items()} for row in table.frame.to_dict("records")]


def models_in(table: Table, quantity: str) -> list[str]:
    """Return the models with a column ``<model>_<quantity>_measured``."""
    ending = f"_{quantity}{_MEASURED}"
    names = [column.name for column in table.columns]
    return [name.removesuffix(ending) for name in names if name.endswith(ending)]


def compared(row: Mapping[str, Value], name: str) -> dict[str, Any]:
    """Return the values of `COMPARED` for the quantity `name` of a table's row."""
    measured = row[f"{name}{_MEASURED}"]
    there = not isinstance(measured, str)
    return {
        "measured": number(measured),
        "std": number(row.get(f"{name}_std", "")),
        "n": int(row.get(f"{name}_n", int(there))),
        "published": number(row[f"{name}_published"]),
        "absent": "" if there else str(measured),
    }


def averaged(
    cells: Sequence[Cell], metric: str, published: Value = "", scale: float = 1
) -> dict[str, Any]:
    """Return the values of `COMPARED` over `cells`, for a quantity that no table has."""
    values = values_of(cells, metric, scale)
    return {
        "measured": fmean(values) if values else NO_NUMBER,
        "std": stdev(values) if len(values) > 1 else NO_NUMBER,
        "n": len(values),
        "published": number(published),
        "absent": "" if values else absence(cells),
    }


def ranged(row: Mapping[str, Value], name: str, judgement: Judgement | None) -> dict[str, Any]:
    """Return the values of `RANGED` for the quantity `name` of a table's row."""
    low, high = (judgement.low, judgement.high) if judgement else (NO_NUMBER, NO_NUMBER)
    return compared(row, name) | {"low": low, "high": high}


def has_range(frame: pd.DataFrame) -> bool:
    """Return whether it is known of any value where a repeat falls."""
    return "low" in frame and bool(frame["low"].notna().any())


def number(value: Value) -> float:
    """Return the value; NaN where it is a word."""
    return NO_NUMBER if isinstance(value, str) else float(value)


def label(params: Mapping[str, Any], names: Iterable[str]) -> str:
    """Return the params `names` in short: ``Adam · 0.001 · bs 16``."""
    texts = (
        _SHORT[name].format(params[name]) for name in names if params.get(name) not in (None, "")
    )
    return " · ".join(texts)


def parts(frame: pd.DataFrame, column: str) -> dict[str, pd.DataFrame]:
    """Yield the rows of each value of a column, renumbered, in the order of the frame."""
    return {
        str(name): rows.reset_index(drop=True) for name, rows in frame.groupby(column, sort=False)
    }


def varying(rows: Sequence[Mapping[str, Any]], names: Iterable[str]) -> list[str]:
    """Return those of the params `names` that differ between rows."""
    return [name for name in names if len({row.get(name) for row in rows}) > 1]


def entity(params: Mapping[str, Any]) -> str:
    """Return what determines a cell's colour: ``ResNet-18``, ``SVM rbf``."""
    name = model_label(str(params.get(keys.MODEL, "svm" if keys.KERNEL in params else "model")))
    return f"{name} {params[keys.KERNEL]}" if keys.KERNEL in params else name


def known(values: Iterable[float]) -> list[float]:
    """Return the values that are numbers."""
    return [float(value) for value in values if not math.isnan(value)]


def repeated(frame: pd.DataFrame) -> bool:
    """Return whether any value is a mean of several, so that its deviation can be drawn."""
    return bool((frame["n"] > 1).any())


def spread_note(frame: pd.DataFrame) -> str:
    """Return the caption's sentence on ranges or error bars, where there are any."""
    if has_range(frame):
        return (
            " Lines: where a repeat of the measurement falls 95% of the time; a published value "
            "outside of its line disagrees."
        )
    return " Error bars: standard deviation over seeds." if repeated(frame) else ""


def hidden(frame: pd.DataFrame) -> str:
    """Return the word for the absence of all values of the frame; empty where one is there."""
    if frame.empty:
        return "no such cells"
    if frame["measured"].notna().any():
        return ""
    return " / ".join(dict.fromkeys(str(word) for word in frame["absent"]))
