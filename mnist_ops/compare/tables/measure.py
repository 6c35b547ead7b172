"""From cells to the values of a table: means over seeds, the better of two, and differences."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any, TypeAlias, TypeVar

from mnist_ops.compare import cells as states
from mnist_ops.compare.cells import Cell
from mnist_ops.compare.published import Published
from mnist_ops.compare.tables.table import Column, Kind, Value
from mnist_ops.core import keys

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
Group: TypeAlias = Sequence[Cell]

# The key of a row: the values of its key columns, then the variant of its cells.
RowKey: TypeAlias = tuple[Any, ...]

# Accuracies are 0 to 1 in the runs and percent in print.
TO_PERCENT = 100

VARIANT = "variant"


def values_of(cells: Iterable[Cell], metric: str, scale: float = 1) -> list[float]:
    """Return the metric of every finished cell that has it, times `scale`."""
    return [cell.metrics[metric] * scale for cell in cells if metric in cell.metrics]


def mean(cells: Group, metric: str, scale: float = 1) -> Value:
    """Return the mean over the cells, as a rule seeds, or the word for its absence."""
    values = values_of(cells, metric, scale)
    return fmean(values) if values else absence(cells)


def absence(cells: Iterable[Cell]) -> str:
    """Why there is no value: the first that holds of failed, unfinished, not measured, missing."""
    by_status = {cell.status: cell for cell in cells}
    for status in (states.FAILED, states.UNFINISHED):
        if status in by_status:
            return status
    if states.NOT_MEASURED in by_status:
        return by_status[states.NOT_MEASURED].reason
    return states.MISSING


def difference(measured: Value, published: Value) -> Value:
    """Measured less published; an empty text unless both are numbers."""
    if isinstance(measured, str) or isinstance(published, str):
        return ""
    return measured - published


def grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Group the items by `key`, keys in the order in which they first appear."""
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def best(groups: Iterable[Group], metric: str) -> Group | None:
    """Return the group with the highest mean of `metric`, the first of equals; None without any."""
    scored = [(fmean(values), group) for group in groups if (values := values_of(group, metric))]
    # max() keeps the first of equals.
    return max(scored, key=lambda pair: pair[0])[1] if scored else None


def better(cells: Group, param: str, metric: str) -> Group:
    """Return the cells with the value of `param` that has the higher mean `metric`.

    False or the lower value if they are equal. Where no cell has the metric, those of a value with
    finished cells, or else all.
    """
    by_value = grouped(cells, lambda cell: cell.params.get(param, False))
    ordered = [by_value[value] for value in sorted(by_value)]
    chosen = best(ordered, metric)
    if chosen is None:
        chosen = next((group for group in ordered if any(c.finished for c in group)), cells)
    return chosen


def repeated(groups: Iterable[Group]) -> bool:
    """Return whether any group has more than one finished cell, and thus a deviation."""
    return any(sum(cell.finished for cell in group) > 1 for group in groups)


def compared_columns(
    name: str, group: str, kind: Kind, *, spread: bool, best_on_test: bool = False
) -> list[Column]:
    """Return the columns of a quantity: measured, published, difference, deviation, n."""
    columns = [Column(f"{name}_measured", "measured", group, kind)]
    if spread:
        columns.append(Column(f"{name}_std", "std", group, kind))
        columns.append(Column(f"{name}_n", "n", group))
    if best_on_test:
        columns.append(Column(f"{name}_best_on_test", "best on test", group, kind))
    columns.append(Column(f"{name}_published", "published", group, kind))
    columns.append(
        Column(f"{name}_difference", "difference", group, kind.difference, is_difference=True)
    )
    return columns


def compared(
    name: str, cells: Group, metric: str, published: Value, scale: float = 1
) -> dict[str, Value]:
    """Return the values of `compared_columns` for these cells.

    The deviation is that of the sample (n - 1), and empty for fewer than two values.
    """
    values = values_of(cells, metric, scale)
    measured = mean(cells, metric, scale)
    return {
        f"{name}_measured": measured,
        f"{name}_std": stdev(values) if len(values) > 1 else "",
        f"{name}_n": len(values),
        f"{name}_published": published,
        f"{name}_difference": difference(measured, published),
    }


def row_keys(
    published: Published, table: int, names: Iterable[str], found: Iterable[RowKey]
) -> list[RowKey]:
    """Return the rows of the paper's table in its order, then those `found` beyond them."""
    printed = ((*row, "") for row in published.rows(table, *names))
    return list(dict.fromkeys([*printed, *found]))


def models_of(published: Published, table: int, cells: Iterable[Cell]) -> list[str]:
    """Return the models of the paper's table, then others in the order of the cells."""
    printed = [str(model) for (model,) in published.rows(table, keys.MODEL)]
    found = [str(cell.params[keys.MODEL]) for cell in cells if keys.MODEL in cell.params]
    return list(dict.fromkeys([*printed, *found]))


def key_columns(labels: Mapping[str, str], row_order: Iterable[RowKey]) -> list[Column]:
    """Return the key columns of a table, with one for the variant where a row has any."""
    varied = any(key[-1] for key in row_order)
    shown = dict(labels) | ({VARIANT: "Variant"} if varied else {})
    return [Column(name, label, is_key=True) for name, label in shown.items()]


def key_values(names: Iterable[str], key: RowKey) -> dict[str, Value]:
    """Return a row's values of `key_columns`; an absent param is an empty text."""
    pairs = zip([*names, VARIANT], key, strict=True)
    return {name: "" if value is None else value for name, value in pairs}
