"""The report as one self-contained page, published beside measured."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from mnist_ops.compare.provenance import provenance
from mnist_ops.compare.render import is_numeric, readable
from mnist_ops.compare.selection import Selection
from mnist_ops.compare.tables.table import PLAIN, Column, Table, Value
from mnist_ops.grids import PRESETS

# Section heading -> the tables in it, in the study's order.
SECTIONS = {
    "Setup": (1,),
    "Q1(a) ResNet-18 and ResNet-50": (2, 3, 4),
    "Q1(b) Support vector machines": (5, 6, 7),
    "Q2 CPU against GPU": (8, 9, 10),
    "Summary": (11,),
}

# Of the runs that a note is about, so many are named on the page.
NAMES_SHOWN = 200

# The kinds of not finished, as the attributes of a coverage and as CSS classes.
_KINDS = ("failed", "unfinished", "not_measured", "missing")

_ABOUT = {
    "quick": (
        "At preset quick each run sees a few hundred images: the accuracies below show the shape "
        "of the study, not its results."
    ),
    "paper": "At preset paper the runs are as large as the study says its own were.",
    "rigorous": (
        "At preset rigorous each configuration runs with five seeds, and the support vector "
        "machines see all 49,000 training images."
    ),
}
_ABOUT_OWN = (
    "The runs have a size of their own, so no grid says which cells there should be: what was "
    "started is counted, and the published numbers are of another size."
)


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
    """A value as people read it, and its CSS class."""

    text: str
    css: str
    is_key: bool


@dataclass(frozen=True)
class Sheet:
    """A table laid out for the page: one or two rows of headings, then the values."""

    table: Table
    head: tuple[tuple[HeadCell, ...], ...]
    body: tuple[tuple[BodyCell, ...], ...]


def render(selection: Selection, tables: Sequence[Table]) -> str:
    """The page as HTML. Every text that comes from the store is escaped."""
    environment = Environment(
        loader=PackageLoader("mnist_ops.compare"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    sheets = {table.number: lay_out(table) for table in tables}
    return environment.get_template("index.html.j2").render(
        selection=selection,
        total=selection.total,
        coverage=(*selection.coverage, selection.total),
        kinds_with_counts=[(kind, getattr(selection.total, kind)) for kind in _KINDS],
        names_shown=NAMES_SHOWN,
        provenance=provenance(selection.runs),
        about=_ABOUT[selection.preset] if selection.preset in PRESETS else _ABOUT_OWN,
        sections={title: [sheets[n] for n in numbers] for title, numbers in SECTIONS.items()},
    )


def lay_out(table: Table) -> Sheet:
    """Head and body of `table`; groups of columns get a heading of their own."""
    css = _css(table)
    body = tuple(
        tuple(
            _body_cell(column, value, css[column.name])
            for column, value in zip(table.columns, row, strict=True)
        )
        for row in table.frame.itertuples(index=False, name=None)
    )
    return Sheet(table, tuple(_head(table, css)), body)


def _head(table: Table, css: Mapping[str, str]) -> Iterator[tuple[HeadCell, ...]]:
    if not any(column.group for column in table.columns):
        yield tuple(HeadCell(c.label, css=css[c.name]) for c in table.columns)
        return
    top: list[HeadCell] = []
    for group, members in itertools.groupby(table.columns, key=lambda column: column.group):
        columns = list(members)
        if group:
            top.append(HeadCell(group, len(columns), scope="colgroup", css="group start"))
        else:
            top += [HeadCell(c.label, rows=2, css=css[c.name]) for c in columns]
    yield tuple(top)
    yield tuple(HeadCell(c.label, css=css[c.name]) for c in table.columns if c.group)


def _css(table: Table) -> dict[str, str]:
    """The classes of each column by its name."""
    css, group = {}, ""
    for column in table.columns:
        classes = {
            "number": is_numeric(table, column),
            "start": bool(column.group) and column.group != group,
            "measured": column.label == "measured",
            "difference": column.is_difference,
        }
        css[column.name] = " ".join(name for name, holds in classes.items() if holds)
        group = column.group
    return css


def _body_cell(column: Column, value: Value, css: str) -> BodyCell:
    text = readable(value, column.kind)
    if isinstance(value, str | bool):
        absent = value not in ("", True, False) and column.kind != PLAIN
        return BodyCell(text, f"{css} absent" if absent else css, column.is_key)
    if column.is_difference:
        css += " plus" if text.startswith("+") else " minus" if text.startswith("-") else ""
    return BodyCell(text.replace("-", "\N{MINUS SIGN}", 1), css, column.is_key)
