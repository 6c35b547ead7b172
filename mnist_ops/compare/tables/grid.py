"""A table of the cells of one study, described by data: which rows, which columns, which metric."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mnist_ops.compare.cells import Cell
from mnist_ops.compare.published import Number, Published
from mnist_ops.compare.selection import Selection
from mnist_ops.compare.tables.labels import model_label
from mnist_ops.compare.tables.measure import (
    Group,
    RowKey,
    better,
    compared,
    compared_columns,
    difference,
    grouped,
    key_columns,
    key_values,
    mean,
    models_of,
    repeated,
    row_keys,
)
from mnist_ops.compare.tables.place import Place
from mnist_ops.compare.tables.table import Column, Kind, Table, Value, build
from mnist_ops.core import keys


@dataclass(frozen=True)
class Measure:
    """A quantity of a table: measured, published, and their difference.

    Attributes:
        name: its columns are ``<name>_measured``, ``<name>_published`` and so on.
        label: above its columns.
        kind: how its numbers are written.
        metric: of the runs.
        printed: of the published numbers, a key of `published.QUANTITIES`.
        scale: what the runs' values are multiplied by.
        where: params of the cells that it is of, beside those of the row.
    """

    name: str
    label: str
    kind: Kind
    metric: str
    printed: str
    scale: float = 1
    where: Mapping[str, Any] = field(default_factory=dict)

    def is_of(self, number: Number) -> bool:
        """Return whether a published number is one of this quantity."""
        return self.printed == number.metric and self.where.items() <= number.fields.items()


@dataclass(frozen=True)
class Ratio:
    """The mean of one measure over that of another, the published ratio beside it."""

    name: str
    label: str
    kind: Kind
    printed: str
    over: tuple[Measure, Measure]


@dataclass(frozen=True)
class GridTable:
    """A table of a study's cells; the rows of the paper come first, in its order.

    Attributes:
        number: in the paper.
        title: as in the paper.
        study: whose cells it is of.
        rows: param -> heading, of the columns that tell the rows apart.
        measures: the quantities, in the order of their columns.
        ratios: columns after them.
        where: params that all its cells have.
        by_model: whether each model has columns of its own.
        chosen: param of two values, of which the one with the better validation accuracy is shown,
            and beside it the one with the better test accuracy.
        longest: param of which only the largest value is shown, and what the paper's preset does
            not ask for.
        in_order: whether the rows beyond the paper's are sorted by their values.
        written: how a param that tells rows apart is written.
        spread: whether deviations over seeds are shown where there are any.
        notes: what a reader should know.
        other_work: why its times are of other work than the paper's, whatever the hardware.
        unprinted: param; each value of which the paper prints no row gets a note.
    """

    number: int
    title: str
    study: str
    rows: Mapping[str, str]
    measures: tuple[Measure, ...]
    ratios: tuple[Ratio, ...] = ()
    where: Mapping[str, Any] = field(default_factory=dict)
    by_model: bool = False
    chosen: str = ""
    longest: str = ""
    in_order: bool = False
    written: Mapping[str, Callable[[str], str]] = field(default_factory=dict)
    spread: bool = True
    notes: tuple[str, ...] = ()
    other_work: str = ""
    unprinted: str = ""

    def build(self, selection: Selection, published: Published) -> Table:
        """Return the table of these cells."""
        cells = having(selection.of(self.study), self.where)
        if self.longest:
            shorter = _shorter(cells, self.longest)
            cells = [cell for cell in cells if cell.params.get(self.longest) not in shorter]
        by_row = grouped(cells, lambda cell: (*cell.key(*self.rows), cell.variant))
        # None, a param that a run does not have, comes last.
        found = sorted(by_row, key=lambda key: [(v is None, v) for v in key])
        order = row_keys(published, self.number, self.rows, found if self.in_order else by_row)
        models = models_of(published, self.number, cells) if self.by_model else [""]
        return build(
            self.number,
            self.title,
            key_columns(self.rows, order) + self._columns(models, self._is_repeated(cells)),
            [self._row(key, by_row.get(key, []), models, published) for key in order],
            [*self.notes, *self._notes(order, published)],
        )

    def place(self, number: Number) -> Place:
        """Return where the measured value of a published number of this table stands."""
        fields = number.fields
        names = [
            *(m.name for m in self.measures if m.is_of(number)),
            *(ratio.name for ratio in self.ratios if ratio.printed == number.metric),
        ]
        row = {name: self._write(name, fields[name]) for name in self.rows}
        model = str(fields[keys.MODEL]) if self.by_model else ""
        return Place(row, _name(model, names[0]), self.study, other_work=self.other_work)

    def _is_repeated(self, cells: Sequence[Cell]) -> bool:
        apart = [*([keys.MODEL] if self.by_model else []), *([self.chosen] if self.chosen else [])]
        groups = grouped(cells, lambda cell: (*cell.key(*apart, *self.rows), cell.variant))
        return self.spread and repeated(groups.values())

    def _columns(self, models: Iterable[str], spread: bool) -> list[Column]:
        columns: list[Column] = []
        for measure in self.measures:
            for model in models:
                columns += compared_columns(
                    _name(model, measure.name),
                    f"{model_label(model)} {measure.label}".strip(),
                    measure.kind,
                    spread=spread,
                    best_on_test=bool(self.chosen),
                )
        for ratio in self.ratios:
            columns += compared_columns(ratio.name, ratio.label, ratio.kind, spread=False)
        return columns

    def _row(
        self, key: RowKey, cells: Group, models: Iterable[str], published: Published
    ) -> dict[str, Value]:
        row = key_values(self.rows, key)
        row = {name: self._write(name, value) for name, value in row.items()}
        for model in models:
            of_model = having(cells, {keys.MODEL: model} if model else {})
            for measure in self.measures:
                name = _name(model, measure.name)
                those = having(of_model, measure.where)
                fields = dict(measure.where) | ({keys.MODEL: model} if model else {})
                printed = self._printed(published, measure.printed, key, fields)
                shown = better(those, self.chosen, keys.VAL_ACCURACY) if self.chosen else those
                row |= compared(name, shown, measure.metric, printed, measure.scale)
                if self.chosen:
                    on_test = better(those, self.chosen, keys.TEST_ACCURACY)
                    row[f"{name}_best_on_test"] = mean(on_test, measure.metric, measure.scale)
        for ratio in self.ratios:
            first, second = (mean(having(cells, m.where), m.metric) for m in ratio.over)
            measured = quotient(first, second)
            printed = self._printed(published, ratio.printed, key, {})
            row |= {
                f"{ratio.name}_measured": measured,
                f"{ratio.name}_published": printed,
                f"{ratio.name}_difference": difference(measured, printed),
            }
        return row

    def _printed(
        self, published: Published, metric: str, key: RowKey, fields: Mapping[str, Any]
    ) -> Value:
        """Return the paper's number for a row; empty where it prints none, as for a variant."""
        *values, variant = key
        if variant:
            return ""
        wanted = dict(zip(self.rows, values, strict=True)) | dict(fields)
        return published.value(self.number, metric, **wanted)

    def _write(self, name: str, value: Value) -> Value:
        return self.written[name](str(value)) if name in self.written else value

    def _notes(self, order: Iterable[RowKey], published: Published) -> list[str]:
        if not self.unprinted:
            return []
        place, label = list(self.rows).index(self.unprinted), self.rows[self.unprinted].lower()
        printed = {value for (value,) in published.rows(self.number, self.unprinted)}
        others = [v for v in dict.fromkeys(key[place] for key in order) if v not in printed]
        return [f"The study prints no values for {label} {value}." for value in others]


def having(cells: Iterable[Cell], params: Mapping[str, Any]) -> list[Cell]:
    """Return the cells that have these params."""
    return [c for c in cells if all(c.params.get(k) == v for k, v in params.items())]


def quotient(first: Value, second: Value) -> Value:
    """Return first over second; of a missing one the word for it, the second's if both are."""
    if isinstance(second, str):
        return second
    if isinstance(first, str):
        return first
    return first / second if second > 0 else "missing"


def _name(model: str, measure: str) -> str:
    return f"{model}_{measure}" if model else measure


def _shorter(cells: Iterable[Cell], name: str) -> set[object]:
    """Return the values of a param that are not shown.

    All but the largest; where that was not run, the largest that was is kept as well.
    """
    known = [cell for cell in cells if name in cell.params]
    asked = {cell.params[name] for cell in known if cell.expected}
    ran = {cell.params[name] for cell in known if cell.finished}
    return asked - {max(asked), max(ran, default=max(asked))} if asked else set()
