"""What a table is: typed columns, a frame of plain values, and notes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import pandas as pd

# A number, or the word that stands where there is none.
Value: TypeAlias = str | int | float | bool


@dataclass(frozen=True)
class Kind:
    """How the numbers of a column are written.

    Attributes:
        decimals: digits behind the point; None writes the number as it is.
        unit: written behind the number where people read it, not in CSV.
        signed: written with its sign where people read it.
        significant: numbers below 1 keep at least this many significant digits.
    """

    decimals: int | None = None
    unit: str = ""
    signed: bool = False
    significant: int = 0

    @property
    def difference(self) -> "Kind":
        """Return the kind of a difference of two such numbers."""
        return replace(self, signed=True)


PLAIN = Kind()
PERCENT = Kind(decimals=2)
F1 = Kind(decimals=3)
SECONDS = Kind(decimals=1, significant=3)
RATIO = Kind(decimals=2, unit="\N{MULTIPLICATION SIGN}")
MILLIONS = Kind(decimals=2, unit="M")


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: in the frame and in CSV; unit included.
        label: above the column, below its group.
        group: what several neighbouring columns are about; empty for a column on its own.
        kind: how its numbers are written.
        is_key: says which row it is, rather than what was found.
        is_difference: measured less published.
        is_joined: rows that differ in this key alone are one row of the page.
    """

    name: str
    label: str
    group: str = ""
    kind: Kind = PLAIN
    is_key: bool = False
    is_difference: bool = False
    is_joined: bool = False

    @property
    def heading(self) -> str:
        """Group and label in one line."""
        return f"{self.group}: {self.label}" if self.group else self.label


@dataclass(frozen=True)
class Table:
    """One of the study's tables, measured beside published.

    Attributes:
        number: in the study, 1 to 11.
        title: as the study names it.
        columns: in order; their names are the frame's columns.
        frame: numbers at full precision; where there is none, the word for it: never missing.
        notes: what a reader should know, one sentence each.
    """

    number: int
    title: str
    columns: tuple[Column, ...]
    frame: pd.DataFrame
    notes: tuple[str, ...] = field(default=())

    @property
    def stem(self) -> str:
        """Return the table's file name without its extension."""
        return f"table-{self.number:02d}"


def build(
    number: int,
    title: str,
    columns: Iterable[Column],
    rows: Iterable[Mapping[str, Value]],
    notes: Iterable[str] = (),
) -> Table:
    """Return a table of these rows; a column that a row lacks is an empty text there."""
    columns = tuple(columns)
    names = [column.name for column in columns]
    frame = pd.DataFrame(
        {name: pd.Series([row.get(name, "") for row in rows], dtype="object") for name in names}
        if (rows := list(rows))
        else {name: pd.Series([], dtype="object") for name in names}
    )
    return Table(number, title, columns, frame, tuple(notes))
