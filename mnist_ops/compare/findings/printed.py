"""A paper's own evidence for a claim, from its printed numbers."""

from collections.abc import Iterable, Mapping
from statistics import fmean, geometric_mean
from typing import Any

from mnist_ops.compare.published import ACCURACY, Number, Published

ValuePair = tuple[float, float]


def matched(
    published: Published,
    tables: Iterable[int],
    metric: str,
    first: Mapping[str, Any],
    second: Mapping[str, Any],
) -> list[ValuePair]:
    """Pair the printed numbers with the params `first` with those that differ in `second` only."""
    pairs = []
    for number in published.numbers:
        fields = dict(number.fields)
        if number.table not in tables or number.metric != metric:
            continue
        if all(fields.get(name) == value for name, value in first.items()):
            other = _exactly(published, number.table, metric, fields | dict(second))
            if other is not None:
                pairs.append((number.value, other.value))
    return pairs


def accuracies(pairs: list[ValuePair]) -> str:
    """Describe how many of the printed pairs agree, and by how much on average."""
    agreeing = sum(first > second for first, second in pairs)
    mean = fmean(first - second for first, second in pairs)
    return f"higher in {agreeing} of {len(pairs)} printed pairs, by {mean:+.2f} points on average"


def largest(pairs: list[ValuePair], below: float) -> str:
    """Describe the range of the printed differences."""
    gaps = [abs(round(first - second, 6)) for first, second in pairs]
    inside = sum(gap < below for gap in gaps)
    unit = "point" if below == 1 else "points"
    return (
        f"{inside} of {len(gaps)} printed pairs differ by less than {below:g} {unit}, "
        f"the most by {max(gaps):.2f}"
    )


def ratios(pairs: list[ValuePair]) -> str:
    """Describe the range of the printed ratios."""
    values = [first / second for first, second in pairs]
    above = sum(value > 1 for value in values)
    return (
        f"above 1 in {above} of {len(values)} printed pairs, "
        f"{geometric_mean(values):.2f} in the geometric mean"
    )


def each(published: Published, table: int, metric: str, *names: str) -> str:
    """List every printed number of a table's metric, named by these fields."""
    return ", ".join(
        f"{' '.join(str(number.fields.get(name)) for name in names)} {number.printed}"
        for number in published.numbers
        if number.table == table and number.metric == metric
    )


def best_of(published: Published, table: int, dataset: str, **fields: Any) -> str:
    """Return the highest printed accuracy among the table's rows with these fields."""
    found = [
        number
        for number in published.numbers
        if number.table == table
        and number.metric == ACCURACY
        and all(number.fields.get(name) == value for name, value in fields.items())
    ]
    return f"{dataset} {max(found, key=lambda number: number.value).printed}%"


def _exactly(
    published: Published, table: int, metric: str, fields: Mapping[str, Any]
) -> Number | None:
    return next(
        (
            number
            for number in published.numbers
            if (number.table, number.metric) == (table, metric) and dict(number.fields) == fields
        ),
        None,
    )
