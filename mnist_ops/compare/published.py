"""The study's printed numbers: tables 2 to 11, one record a number, as they stand in print.

`published.csv` keeps each number as the study prints it (``98.70``, ``341.6s``, ``11.18M``). Two
things in it are not in print: tables 2, 3, 7 and 11 are the results of 5 epochs (their values are
those of table 4's 5-epoch rows), and tables 8 and 9 fit trainings of 2 epochs.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.resources import files

import pandas as pd

from mnist_ops.core import keys

# Names of the printed quantities; training times are named as the metric of a run.
ACCURACY = "accuracy"
F1 = "f1"
TRAIN_TIME_S = keys.TRAIN_TIME_S
IMPROVEMENT = "improvement"
SPEEDUP = "speedup"
PARAMETERS = "parameters"
FLOPS = "flops"
RELATIVE_COMPLEXITY = "relative_complexity"

_TYPES: Mapping[str, str] = {
    keys.DATASET: "object",
    keys.MODEL: "object",
    keys.BATCH_SIZE: "Int64",
    keys.OPTIMIZER: "object",
    keys.LEARNING_RATE: "float64",
    keys.EPOCHS: "Int64",
    keys.PIN_MEMORY: "boolean",
    keys.DEVICE: "object",
    keys.KERNEL: "object",
    keys.C: "float64",
    keys.GAMMA: "object",
}

# Percent, seconds, millions, times.
_UNITS = "%sM\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True)
class Number:
    """One printed number.

    Attributes:
        table: the study's table, 2 to 11.
        metric: what was measured: accuracy and improvement in percent and percentage points, f1
            0 to 1, train_time_s in seconds, parameters and flops as counts, speedup and
            relative_complexity as ratios.
        fields: the cell's params, those that the table gives.
        printed: the number as the study prints it, unit and trailing zeros included.
    """

    table: int
    metric: str
    fields: Mapping[str, str | int | float | bool]
    printed: str

    @property
    def value(self) -> float:
        """The printed number without its unit; millions are written out."""
        digits = Decimal(self.printed.rstrip(_UNITS))
        return float(digits * 1_000_000 if self.printed.endswith("M") else digits)

    @property
    def decimals(self) -> int:
        """Digits printed behind the decimal point."""
        return len(self.printed.rstrip(_UNITS).partition(".")[2])


@cache
def numbers() -> tuple[Number, ...]:
    """Every printed number, in the study's order."""
    text = files(__package__).joinpath("published.csv").read_text(encoding="utf-8")
    return tuple(
        Number(
            table=int(row["table"]),
            metric=row["metric"],
            fields={k: _read(row[k], kind) for k, kind in _TYPES.items() if row[k]},
            printed=row["value"],
        )
        for row in csv.DictReader(text.splitlines())
    )


def published() -> pd.DataFrame:
    """The printed numbers as a typed frame, one row a number.

    Columns: ``table``, the params of the cell (missing where the table has none), ``metric``,
    ``printed`` (text), ``value`` (float, units as in `Number`) and ``decimals``.
    """
    rows = [
        {"table": n.table}
        | {name: n.fields.get(name) for name in _TYPES}
        | {"metric": n.metric, "printed": n.printed, "value": n.value, "decimals": n.decimals}
        for n in numbers()
    ]
    return pd.DataFrame(rows).astype(dict(_TYPES))


def find(table: int, metric: str, **fields: object) -> Number | None:
    """The number of `table` for the cell with these params; None where the study prints none."""
    for number in numbers():
        if number.table == table and number.metric == metric:
            given = number.fields
            if all(given.get(name) == value for name, value in fields.items()):
                return number
    return None


def value(table: int, metric: str, **fields: object) -> float | str:
    """As `find`, but its value; an empty text where the study prints none."""
    number = find(table, metric, **fields)
    return number.value if number else ""


def rows(table: int, *names: str) -> list[tuple[object, ...]]:
    """The rows of `table` by the params `names`, each once, in the study's order."""
    found = (n for n in numbers() if n.table == table)
    return list(dict.fromkeys(tuple(n.fields.get(name) for name in names) for n in found))


def _read(text: str, kind: str) -> str | int | float | bool:
    match kind:
        case "Int64":
            return int(text)
        case "float64":
            return float(text)
        case "boolean":
            return text == "True"
        case _:
            return text
