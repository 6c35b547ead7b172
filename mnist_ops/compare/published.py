"""The printed numbers of a paper, one record a number, as they stand in print.

They are read from a CSV file with a row a number: the table, the params of the cell (empty where
the table does not give one), the metric, and the number as printed (``98.70``, ``341.6s``,
``11.18M``).
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from mnist_ops.compare.tables.table import F1 as F1_KIND
from mnist_ops.compare.tables.table import MILLIONS, PERCENT, PLAIN, RATIO, SECONDS, Kind
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


class Judged(StrEnum):
    """How a printed number is compared with the measured one."""

    BY_RUNS = "by where a repeat of the measurement falls"
    BY_DIGITS = "to the last printed digit"
    NOT = "not at all: it depends on the hardware"


@dataclass(frozen=True)
class Quantity:
    """What numbers are printed of.

    Attributes:
        label: name and unit in words.
        unit: of the numbers.
        kind: how they are written.
        judged: how the measured one is compared.
    """

    label: str
    unit: str = ""
    kind: Kind = PLAIN
    judged: Judged = Judged.BY_RUNS

    @property
    def divisor(self) -> float:
        """Return the number by which a printed number, written out, is divided to be in `unit`."""
        return 1e6 if self.unit == "M" else 1.0


_TIMES = "\N{MULTIPLICATION SIGN}"
QUANTITIES: Mapping[str, Quantity] = {
    ACCURACY: Quantity("accuracy (%)", "%", PERCENT),
    F1: Quantity("F1", "", F1_KIND),
    TRAIN_TIME_S: Quantity("training time (s)", "s", SECONDS, Judged.NOT),
    IMPROVEMENT: Quantity("improvement (points)", "points", PERCENT),
    SPEEDUP: Quantity("speed-up", _TIMES, RATIO, Judged.NOT),
    PARAMETERS: Quantity("parameters", "M", MILLIONS, Judged.BY_DIGITS),
    FLOPS: Quantity("flops", "M", MILLIONS, Judged.BY_DIGITS),
    RELATIVE_COMPLEXITY: Quantity("relative complexity", _TIMES, RATIO, Judged.BY_DIGITS),
}

_TYPES: Mapping[str, type] = {
    keys.DATASET: str,
    keys.MODEL: str,
    keys.BATCH_SIZE: int,
    keys.OPTIMIZER: str,
    keys.LEARNING_RATE: float,
    keys.EPOCHS: int,
    keys.PIN_MEMORY: bool,
    keys.DEVICE: str,
    keys.KERNEL: str,
    keys.C: float,
    keys.GAMMA: str,
}

# Percent, seconds, millions, times.
_UNITS = f"%sM{_TIMES}"


@dataclass(frozen=True)
class Number:
    """One printed number.

    Attributes:
        table: its table in the paper.
        metric: one of `QUANTITIES`: accuracy and improvement in percent and percentage points, f1
            0 to 1, train_time_s in seconds, parameters and flops as counts, speedup and
            relative_complexity as ratios.
        fields: the cell's params, those that the table gives.
        printed: the number as it is printed, unit and trailing zeros included.
        text: what it is of, in words; empty for those of the params.
    """

    table: int
    metric: str
    fields: Mapping[str, str | int | float | bool]
    printed: str
    text: str = ""

    @property
    def value(self) -> float:
        """Return the printed number without its unit; millions are written out."""
        digits = Decimal(self.printed.rstrip(_UNITS))
        return float(digits * 1_000_000 if self.printed.endswith("M") else digits)

    @property
    def decimals(self) -> int:
        """Digits printed behind the decimal point."""
        return len(self.printed.rstrip(_UNITS).partition(".")[2])


@dataclass(frozen=True)
class Published:
    """Every printed number of a paper, in its order."""

    numbers: tuple[Number, ...] = ()

    @classmethod
    def read(cls, text: str) -> "Published":
        """Return the numbers in `text`, a CSV file with the columns that the module describes."""
        return cls(
            tuple(
                Number(
                    table=int(row["table"]),
                    metric=row["metric"],
                    fields={k: _read(row[k], kind) for k, kind in _TYPES.items() if row[k]},
                    printed=row["value"],
                )
                for row in csv.DictReader(text.splitlines())
            )
        )

    def find(self, table: int, metric: str, **fields: object) -> Number | None:
        """Return the number of `table` for the cell with these params; None if none is printed."""
        for number in self.numbers:
            if number.table == table and number.metric == metric:
                given = number.fields
                if all(given.get(name) == value for name, value in fields.items()):
                    return number
        return None

    def value(self, table: int, metric: str, **fields: object) -> float | str:
        """Return the value of `find`; an empty text where none is printed."""
        number = self.find(table, metric, **fields)
        return number.value if number else ""

    def rows(self, table: int, *names: str) -> list[tuple[object, ...]]:
        """Return the rows of `table` by the params `names`, each once, in the paper's order."""
        found = (n for n in self.numbers if n.table == table)
        return list(dict.fromkeys(tuple(n.fields.get(name) for name in names) for n in found))


def _read(text: str, kind: type) -> str | int | float | bool:
    if kind is bool:
        return text == "True"
    value: str | int | float = kind(text)
    return value
