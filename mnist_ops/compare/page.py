"""The report as one self-contained page, published beside measured."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from mnist_ops.compare.agreement import NO
from mnist_ops.compare.findings.finding import Finding, verdicts
from mnist_ops.compare.formatting import (
    agreement_rows,
    agreement_sentences,
    finding_texts,
    reason,
)
from mnist_ops.compare.joint_agreement import sentence
from mnist_ops.compare.judged import judgements
from mnist_ops.compare.official_images import official_sentence
from mnist_ops.compare.paper import Paper
from mnist_ops.compare.provenance import provenance
from mnist_ops.compare.results import Results
from mnist_ops.compare.runs import EXPERIMENT_ID, NAME, RUN_ID, STUDY, records
from mnist_ops.compare.sheet import Sheet, lay_out

if TYPE_CHECKING:
    from mnist_ops.compare.figures.figure import Figure

_BEYOND = "What the study could not show"
_AGREEMENT_FIGURE = "published-against-measured"

# Of the runs that a note is about, so many are named on the page.
NAMES_SHOWN = 200

# A table of more rows is folded where a figure shows them.
_ROWS_BESIDE_FIGURE = 12

# The kinds of not finished, as the attributes of a coverage and as CSS classes.
_KINDS = ("failed", "unfinished", "not_measured", "missing")

_ABOUT_OWN = (
    "The runs have a size of their own, so no grid says which cells there should be: what was "
    "started is counted, and the published numbers are of another size."
)


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
    judged = judgements(paper.tables, paper.published.numbers, results.tables, results.agreement)
    sheets = {table.number: lay_out(table, judged) for table in results.tables}
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
        other_size=_is_other_size(paper, selection.preset),
        answers=_answers(paper, findings),
        reason=reason,
        finding_texts=finding_texts,
        headlines=results.headlines,
        sections=sections,
        beyond=_BEYOND,
        topics=results.topics,
        rows_beside_figure=_ROWS_BESIDE_FIGURE,
        findings=[(finding, finding_texts(finding)) for finding in findings],
        verdicts=_verdicts(findings),
        agreement=rows,
        agreeing=Counter(row["agrees"] for row in rows),
        disagreeing=[row for row in rows if row["agrees"] == NO],
        sharpness=agreement_sentences(results.agreement) if rows else [],
        of_official=" ".join(
            filter(None, (sentence(results.joint), official_sentence(results.official)))
        ),
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


def _is_other_size(paper: Paper, preset: str) -> bool:
    """Return whether no run has the size of the paper's, so that nothing published is judged."""
    if not paper.published.numbers and not paper.claims:
        return False
    return not any(preset in study.same_size(paper.preset) for study in paper.studies)


def _answers(paper: Paper, findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings on the claims that the paper rests on, all where it names none."""
    by_id = {finding.id: finding for finding in findings}
    return [by_id[name] for name in paper.key_claims if name in by_id] or list(findings)


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
    parts = [("answers", "Answers")]
    parts += [("findings", "Findings")] * findings
    parts += [("published", "Published against measured")] * agreement
    parts += [(section.anchor, section.title) for section in sections]
    parts += [("beyond", "Beyond the study")] * topics
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
