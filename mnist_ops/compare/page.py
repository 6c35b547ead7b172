"""The report as one self-contained page, published beside measured."""

import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from mnist_ops.compare.findings.finding import Finding, verdicts
from mnist_ops.compare.formatting import agreement_rows, finding_texts, official_sentence
from mnist_ops.compare.paper import Paper
from mnist_ops.compare.provenance import provenance
from mnist_ops.compare.render import is_numeric, minus, readable
from mnist_ops.compare.results import Results
from mnist_ops.compare.runs import EXPERIMENT_ID, NAME, RUN_ID, STUDY, records
from mnist_ops.compare.tables.table import PLAIN, Column, Table, Value

if TYPE_CHECKING:
    from mnist_ops.compare.figures.figure import Figure

_BEYOND = "What the study could not show"
_AGREEMENT_FIGURE = "published-against-measured"

# Of the runs that a note is about, so many are named on the page.
NAMES_SHOWN = 200

# The kinds of not finished, as the attributes of a coverage and as CSS classes.
_KINDS = ("failed", "unfinished", "not_measured", "missing")

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


@dataclass(frozen=True)
class Entry:
    """What stands in a section: a table or a figure, the other one is None."""

    sheet: Sheet | None = None
    figure: "Figure | None" = None


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        title: its heading.
        anchor: its id in the page.
        entries: in order.
    """

    title: str
    anchor: str
    entries: tuple[Entry, ...] = ()


def render(
    paper: Paper, results: Results, *, files: Collection[str] = (), tracking_uri: str = ""
) -> str:
    """Return the page as HTML. Every text that comes from the store is escaped.

    Args:
        paper: what was rerun.
        results: what the runs say of it; parts that are empty are left out. Figures are drawn by
            a script as they come near, from the data in the page.
        files: the files of the report by their paths, as of `figures.export`: what the page
            links to, and whether a figure has a picture for those without the script.
        tracking_uri: of the store; runs are links where it is a server's.
    """
    selection, findings, figures = results.selection, results.findings, results.figures
    environment = Environment(
        loader=PackageLoader("mnist_ops.compare"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    sheets = {table.number: lay_out(table) for table in results.tables}
    drawn = {figure.stem: figure for figure in figures}
    sections = [
        Section(title, f"section-{number}", tuple(_entries(names, sheets, drawn)))
        for number, (title, names) in enumerate(paper.layout.items(), start=1)
        if any(True for _ in _entries(names, sheets, drawn))
    ]
    rows = [] if results.agreement.empty else agreement_rows(results.agreement)
    return environment.get_template("index.html.j2").render(
        paper=paper,
        selection=selection,
        total=selection.total,
        coverage=(*selection.coverage, selection.total),
        kinds_with_counts=[(kind, getattr(selection.total, kind)) for kind in _KINDS],
        names_shown=NAMES_SHOWN,
        provenance=provenance(selection.runs),
        about=_about(paper, selection.preset),
        headlines=results.headlines,
        sections=sections,
        beyond=_BEYOND,
        topics=results.topics,
        findings=[(finding, finding_texts(finding)) for finding in findings],
        verdicts=_verdicts(findings),
        agreement=rows,
        agreeing=Counter(row["agrees"] for row in rows),
        of_official=official_sentence(results.agreement) if rows else "",
        agreement_figure=drawn.get(_AGREEMENT_FIGURE),
        contents=_contents(
            sections, topics=bool(results.topics), findings=bool(findings), agreement=bool(rows)
        ),
        data=_inline(figures),
        files=frozenset(files),
        formats=("html", "json", "svg", "png"),
        room=_room() if figures else {},
        runs=_run_links(selection.runs, tracking_uri),
    )


def _about(paper: Paper, preset: str) -> str:
    if size := paper.sizes.get(preset):
        return size.about
    return _ABOUT_OWN if paper.published.numbers else ""


def _entries(
    names: Sequence[int | str], sheets: Mapping[int, Sheet], figures: "Mapping[str, Figure]"
) -> Iterator[Entry]:
    for name in names:
        if isinstance(name, int):
            yield Entry(sheet=sheets[name])
        elif name in figures:
            yield Entry(figure=figures[name])


def _contents(
    sections: Sequence[Section], *, topics: bool, findings: bool, agreement: bool
) -> list[tuple[str, str]]:
    """Anchor and title of every part of the page, in order."""
    parts = [(section.anchor, section.title) for section in sections]
    parts += [("beyond", "Beyond the study")] * topics
    parts += [("findings", "Findings")] * findings
    parts += [("published", "Published against measured")] * agreement
    return [*parts, ("provenance", "Provenance"), ("cells", "Cells")]


def _inline(figures: "Sequence[Figure]") -> dict[str, str]:
    """Stem -> JSON that can stand in a script element."""
    if not figures:
        return {}
    # plotly takes a second to import: pages without figures do without it.
    from mnist_ops.compare.figures.export import inline_json

    return {figure.stem: inline_json(figure) for figure in figures}


def _room() -> Mapping[str, int]:
    from mnist_ops.compare.figures.export import ROOM

    return ROOM


def _verdicts(findings: Sequence[Finding]) -> list[tuple[str, int]]:
    return [(str(verdict), count) for verdict, count in verdicts(findings).items()]


def _run_links(runs: pd.DataFrame, tracking_uri: str) -> list[dict[str, str]]:
    """Name, study, id and address of every run behind the page; no address without a server."""
    server = _address(tracking_uri)
    return [
        {
            "name": str(row[NAME] or row[RUN_ID]),
            "study": str(row[STUDY]),
            "id": str(row[RUN_ID]),
            "href": f"{server}/#/experiments/{quote(str(row[EXPERIMENT_ID]), safe='')}"
            f"/runs/{quote(str(row[RUN_ID]), safe='')}"
            if server and row[EXPERIMENT_ID]
            else "",
        }
        for row in records(runs)
    ]


def _address(tracking_uri: str) -> str:
    """Return the address of the server's pages without credentials; empty where there is none."""
    parts = urlsplit(tracking_uri)
    if parts.scheme not in ("http", "https"):
        return ""
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))


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
    """Return the CSS classes of each column by its name."""
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
    return BodyCell(minus(text), css, column.is_key)
