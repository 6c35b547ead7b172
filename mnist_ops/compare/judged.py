"""Where in the tables a published number was judged, and how."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import pandas as pd

from mnist_ops.compare.agreement import NO, YES
from mnist_ops.compare.runs import records
from mnist_ops.compare.tables.table import Table

if TYPE_CHECKING:
    from mnist_ops.compare.paper import PaperTable
    from mnist_ops.compare.published import Number


@dataclass(frozen=True)
class Judgement:
    """Whether a published number agrees, and where a repeat of the measured one falls."""

    agrees: bool
    low: float
    high: float


# Number of a table, row, quantity (its columns are ``<quantity>_measured`` and so on).
Judgements: TypeAlias = Mapping[tuple[int, int, str], Judgement]
NOT_JUDGED: Judgements = {}


def judgements(
    described: Sequence["PaperTable"],
    numbers: Sequence["Number"],
    tables: Sequence[Table],
    agreement: pd.DataFrame,
) -> Judgements:
    """Return the judgement of every published number that agrees or disagrees.

    Args:
        described: the paper's tables.
        numbers: its printed numbers.
        tables: built from the runs.
        agreement: a row a printed number, in their order; of another length it says nothing.
    """
    if len(agreement) != len(numbers):
        return {}
    places = {table.number: table for table in described}
    rows = {table.number: table.frame.to_dict("records") for table in tables}
    found = {}
    for number, judged in zip(numbers, records(agreement), strict=True):
        if judged["agrees"] not in (YES, NO):
            continue
        place = places[number.table].place(number)
        for index, row in enumerate(rows.get(number.table, [])):
            if place.holds(row):
                found[number.table, index, place.name] = Judgement(
                    judged["agrees"] == YES, float(judged["low"]), float(judged["high"])
                )
                break
    return found
