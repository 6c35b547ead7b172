"""Tables laid out for the page: results first, a column for a value with its spread."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mnist_ops.compare.judged import Judgement, Judgements
from mnist_ops.compare.render import is_numeric, minus, plain, readable
from mnist_ops.compare.runs import records
from mnist_ops.compare.tables.table import PLAIN, Column, Kind, Table, Value


@dataclass(frozen=True)
class HeadCell:
    """A heading: its text, how many columns and rows it spans, and its CSS class."""

    text: str
    columns: int = 1
    rows: int = 1
    scope: str = "col"
    css: str = ""


@dataclass(frozen=True)
class BodyCell:
    """A value as people read it, its CSS class, and the heading that a narrow screen shows."""

    text: str
    css: str
    is_key: bool
    label: str


@dataclass(frozen=True)
class Row:
    """A row of values; its name is what its keys say, in one line."""

    name: str
    cells: tuple[BodyCell, ...]


@dataclass(frozen=True)
class Sheet:
    """A table laid out for the page: one or two rows of headings, then the values."""

    table: Table
    head: tuple[tuple[HeadCell, ...], ...]
    body: tuple[Row, ...]
    notes: tuple[str, ...]


def lay_out(table: Table, judged: Judgements) -> Sheet:
    """Return head and body of `table`; groups of columns get a heading of their own.

    Deviation and number of values stand behind their mean. What would repeat is left out: keys
    that are the same in all rows, a best on test that is the measured value in all rows, and rows
    that differ in one key of truth values, or one whose rows are joined, alone.
    """
    spread = {column.name for column in table.columns} & {
        f"{stem}_{part}" for stem in _stems(table) for part in ("std", "n")
    }
    rows = records(table.frame)
    constant = _constant_keys(table)
    repeated = {
        name
        for stem in _stems(table)
        if (name := f"{stem}_best_on_test") in table.frame
        and table.frame[name].equals(table.frame[f"{stem}_measured"])
    }
    hidden = spread | repeated | {column.name for column in constant}
    shown = [column for column in table.columns if column.name not in hidden]
    columns = sorted(shown, key=_results_first)
    css = _css(table, columns)
    body = [
        tuple(_body_cell(table, column, row, css[column.name], judged, index) for column in columns)
        for index, row in enumerate(rows)
    ]
    merged = _without_repeats(body, [_is_joined(table, column) for column in columns])
    notes = [*table.notes, *_constant_note(table, constant), *_reasons(table)]
    if repeated:
        notes.append("Best on test is the measured value in all rows where it is not shown.")
    labels = {c.name: _label(table, c) for c in columns}
    return Sheet(
        table,
        tuple(_head(columns, css, labels)),
        tuple(Row(_name(cells), cells) for cells in merged),
        tuple(notes),
    )


def _results_first(column: Column) -> int:
    """Order keys before numbers, and these before what else is said of a row."""
    return 0 if column.is_key else 1 if column.kind != PLAIN else 2


def _stems(table: Table) -> list[str]:
    """Return the quantities that have a measured value."""
    ending = "_measured"
    return [c.name.removesuffix(ending) for c in table.columns if c.name.endswith(ending)]


def _constant_keys(table: Table) -> list[Column]:
    """Return the keys with one value in all rows, as long as others tell the rows apart."""
    keys = [column for column in table.columns if column.is_key]
    same = [c for c in keys if len(table.frame) > 1 and table.frame[c.name].nunique() == 1]
    return same if len(same) < len(keys) else []


def _constant_note(table: Table, constant: Sequence[Column]) -> list[str]:
    said = [f"{c.label} {readable(table.frame[c.name].iloc[0], c.kind)}" for c in constant]
    return [f"In all rows: {', '.join(said)}."] if said else []


def _reasons(table: Table) -> list[str]:
    """Return what stands behind the words for missing values, each once."""
    words = [
        value
        for column in table.columns
        if column.kind != PLAIN
        for value in table.frame[column.name]
        if isinstance(value, str) and ":" in value
    ]
    return [f"{word[:1].upper()}{word[1:]}." for word in dict.fromkeys(words)]


def _is_joined(table: Table, column: Column) -> bool:
    truths = column.is_key and all(isinstance(v, bool) for v in table.frame[column.name])
    return column.is_joined or truths


def _without_repeats(
    rows: Sequence[tuple[BodyCell, ...]], is_joined: Sequence[bool]
) -> list[tuple[BodyCell, ...]]:
    """Join rows that read the same but in one joined key: it reads ``False, True`` then."""
    if True not in is_joined:
        return list(rows)
    place = is_joined.index(True)
    alike: dict[tuple[str, ...], list[tuple[BodyCell, ...]]] = {}
    for row in rows:
        texts = tuple(cell.text for cell in row)
        alike.setdefault((*texts[:place], *texts[place + 1 :]), []).append(row)
    return [
        (
            *first[:place],
            replace(first[place], text=", ".join(row[place].text for row in (first, *others))),
            *first[place + 1 :],
        )
        for first, *others in alike.values()
    ]


def _name(cells: Sequence[BodyCell]) -> str:
    """Return what tells a row from the others: numbers and truth values with their heading."""
    keys = [cell for cell in cells if cell.is_key]
    named = (c.text[:1].isdigit() or c.text.startswith(("True", "False")) for c in keys)
    words = [f"{c.label} {c.text}" if name else c.text for name, c in zip(named, keys, strict=True)]
    return ", ".join(words)


def _label(table: Table, column: Column) -> str:
    """Return the heading; that of a mean names what stands behind it."""
    stem = column.name.removesuffix("_measured")
    if stem != column.name and f"{stem}_std" in table.frame:
        return f"{column.label} \N{PLUS-MINUS SIGN} std (n)"
    return column.label


def _head(
    columns: Sequence[Column], css: Mapping[str, str], labels: Mapping[str, str]
) -> Iterator[tuple[HeadCell, ...]]:
    if not any(column.group for column in columns):
        yield tuple(HeadCell(labels[c.name], css=css[c.name]) for c in columns)
        return
    top: list[HeadCell] = []
    for group, found in itertools.groupby(columns, key=lambda column: column.group):
        members = list(found)
        if group:
            top.append(HeadCell(group, len(members), scope="colgroup", css="group start"))
        else:
            top += [HeadCell(labels[c.name], rows=2, css=css[c.name]) for c in members]
    yield tuple(top)
    yield tuple(HeadCell(labels[c.name], css=css[c.name]) for c in columns if c.group)


def _css(table: Table, columns: Sequence[Column]) -> dict[str, str]:
    """Return the CSS classes of each column by its name."""
    css, group = {}, ""
    for column in columns:
        classes = {
            "number": is_numeric(table, column),
            "start": bool(column.group) and column.group != group,
            "measured": column.label == "measured",
            "difference": column.is_difference,
        }
        css[column.name] = " ".join(name for name, holds in classes.items() if holds)
        group = column.group
    return css


def _body_cell(
    table: Table,
    column: Column,
    row: Mapping[str, Value],
    css: str,
    judged: Judgements,
    index: int,
) -> BodyCell:
    value = row[column.name]
    text = readable(value, column.kind)
    label = f"{column.group} {column.label}".strip() if "start" in css else column.label
    if isinstance(value, str | bool):
        absent = value not in ("", True, False) and column.kind != PLAIN
        # The reason stands once, below the table.
        shown = text.partition(":")[0] if absent else text
        return BodyCell(shown, f"{css} absent" if absent else css, column.is_key, label)
    stem = column.name.removesuffix("_measured")
    if stem != column.name:
        text += _spread(row, stem, plain(value, column.kind))
    if column.is_difference:
        css += _colour(judged.get((table.number, index, column.name.removesuffix("_difference"))))
    return BodyCell(minus(text), css, column.is_key, label)


def _spread(row: Mapping[str, Value], stem: str, mean: str) -> str:
    """Return deviation, with the digits of the mean, and number of values, if there are any."""
    deviation, n = row.get(f"{stem}_std", ""), row.get(f"{stem}_n", "")
    same = Kind(decimals=len(mean.partition(".")[2]))
    shown = "" if deviation == "" else f" \N{PLUS-MINUS SIGN} {readable(deviation, same)}"
    return f"{shown} ({n})" if f"{stem}_std" in row else ""


def _colour(judgement: Judgement | None) -> str:
    if judgement is None:
        return ""
    return " agrees" if judgement.agrees else " differs"
