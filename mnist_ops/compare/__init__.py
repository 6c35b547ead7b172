"""Runs in, report out: tables, findings and figures, measured beside published.

The runs come as a frame, one row a run (see `mnist_ops.compare.runs`), and what a run has beyond
that, its predictions and the course of its metrics, is asked for where it is needed; nothing here
knows the tracking store.
"""

import dataclasses
import functools
import math
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from mnist_ops.compare import agreement as published_numbers
from mnist_ops.compare import findings as claims
from mnist_ops.compare import page
from mnist_ops.compare.cells import Cell
from mnist_ops.compare.files import CannotWrite, publish
from mnist_ops.compare.findings import Finding, NoBaseline, Verdict
from mnist_ops.compare.findings.evidence import Evidence
from mnist_ops.compare.headlines import Headline, headlines
from mnist_ops.compare.markdown_summary import FIGURES, digest
from mnist_ops.compare.predictions import PredictionsOf, no_predictions
from mnist_ops.compare.presets import PRESETS, STUDIES
from mnist_ops.compare.render import to_csv, to_latex, to_markdown
from mnist_ops.compare.runs import PRESET, STATUS, STUDY
from mnist_ops.compare.sections import BEYOND, RESULTS, replace_sections, sections_in
from mnist_ops.compare.selection import Coverage, NoRuns, Note, Selection, select
from mnist_ops.compare.tables import Table, all_tables
from mnist_ops.study.specs import Spec

if TYPE_CHECKING:
    from mnist_ops.compare.extra_analyses import Topic
    from mnist_ops.compare.figures.confusion import Pixels
    from mnist_ops.compare.figures.learning import History

__all__ = [
    "CannotWrite",
    "Cell",
    "Coverage",
    "Finding",
    "Headline",
    "NoBaseline",
    "NoRuns",
    "Note",
    "Report",
    "Selection",
    "Table",
    "Verdict",
    "summarize",
]


@dataclass(frozen=True)
class Report:
    """What was written, and from what.

    Attributes:
        out: the folder.
        paths: every file written, the page first.
        selection: the cells behind the tables.
        tables: tables 1 to 11.
        findings: every claim with its verdict.
        agreement: one row a published number, columns as of `agreement.COLUMNS`.
        headlines: the answers to the study's questions.
        topics: what the study could not show.
    """

    out: Path
    paths: tuple[Path, ...]
    selection: Selection
    tables: tuple[Table, ...]
    findings: tuple[Finding, ...]
    agreement: pd.DataFrame
    headlines: tuple[Headline, ...]
    topics: "tuple[Topic, ...]"

    @property
    def page(self) -> Path:
        """The page to open."""
        return self.paths[0]

    def lines(self) -> list[str]:
        """The report for a terminal: cells by study, what was left out, answers and verdicts."""
        lines = [f"Preset {self.selection.preset}"]
        for row in (*self.selection.coverage, self.selection.total):
            counts = {
                "failed": row.failed,
                "unfinished": row.unfinished,
                "not measured": row.not_measured,
                "missing": row.missing,
                "beyond the grid": row.extra,
            }
            named = "".join(f", {count} {what}" for what, count in counts.items() if count)
            study = row.study or "all"
            lines.append(f"{study}: {row.finished} of {row.expected} cells finished{named}")
        lines += [note.text for note in self.selection.notes]
        lines += [f"{headline.question}: {headline.answer}" for headline in self.headlines]
        verdicts = Counter(finding.verdict for finding in self.findings)
        counted = ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in Verdict)
        lines.append(f"{len(self.findings)} findings ({self.findings[0].scope}): {counted}")
        agrees = Counter(self.agreement["agrees"])
        counted = ", ".join(f"{word} {count}" for word, count in sorted(agrees.items()))
        return [*lines, f"{len(self.agreement)} published numbers, agreeing: {counted}"]

    def as_dict(self) -> dict[str, Any]:
        """The report for programs: JSON types only, numbers at full precision."""
        return {
            "preset": self.selection.preset,
            "page": str(self.page),
            "files": [str(path) for path in self.paths],
            "cells": dataclasses.asdict(self.selection.total),
            "studies": [dataclasses.asdict(row) for row in self.selection.coverage],
            "not_finished": [
                {
                    "name": cell.name,
                    "study": cell.study,
                    "fingerprint": cell.fingerprint,
                    "status": cell.status,
                    "reason": cell.reason,
                }
                for cell in self.selection.not_finished
            ],
            "notes": [
                {"text": note.text, "names": list(note.names)} for note in self.selection.notes
            ],
            "tables": [
                {
                    "number": table.number,
                    "title": table.title,
                    "rows": table.frame.to_dict("records"),
                    "notes": list(table.notes),
                }
                for table in self.tables
            ],
            "headlines": [dataclasses.asdict(headline) for headline in self.headlines],
            "findings": [finding.as_dict() for finding in self.findings],
            "beyond": [
                {
                    "title": topic.title,
                    "paragraphs": list(topic.paragraphs),
                    "rows": [dict(zip(topic.head, row, strict=True)) for row in topic.rows],
                }
                for topic in self.topics
            ],
            "published_vs_measured": [
                {str(name): _known(value) for name, value in row.items()}
                for row in self.agreement.to_dict("records")
            ],
        }

    def put_into(self, path: Path, pictures: Path | None = None) -> None:
        """Put the report into the Markdown file at `path`, between its marks.

        Args:
            path: the file; which parts of the report it gets, its marks say (see `sections`).
            pictures: folder for copies of the pictures shown; None shows those of the report.

        Raises:
            InvalidInput: the file cannot be read, or has no marks.
            CannotWrite: the pictures cannot be copied, or the file not be written.
        """
        from mnist_ops.compare.extra_analyses import to_markdown

        stems = {
            RESULTS: tuple(FIGURES),
            BEYOND: tuple(topic.figure.stem for topic in self.topics if topic.figure is not None),
        }
        texts = {}
        for name in sections_in(path):
            shown = {f"{stem}.png": stem for stem in stems[name]}
            found = [file for file in self.paths if file.name in shown]
            if pictures is not None:
                found = publish({file.name: file.read_bytes() for file in found}, pictures)
            places = {shown[file.name]: os.path.relpath(file, path.parent or ".") for file in found}
            places = {stem: places[stem] for stem in stems[name] if stem in places}
            texts[name] = (
                digest(self, places) if name == RESULTS else to_markdown(self.topics, places)
            )
        replace_sections(path, texts)

    def lost(self, baseline: Path | None = None) -> list[Finding]:
        """The claims that were supported in a ``findings.json`` and are no longer.

        Args:
            baseline: the file; None takes the one recorded with the package.

        Raises:
            NoBaseline: none is recorded.
            InvalidInput: `baseline` cannot be read as one.
        """
        return claims.check(self.findings, claims.read(baseline))


def no_history(run_id: str, metric: str) -> list[tuple[int, float]]:
    """Stands in where there is no way to get the course of a metric."""
    return []


def summarize(
    runs: pd.DataFrame,
    expected: Callable[[str], Sequence[Spec]],
    not_measured: Mapping[str, str],
    out: Path,
    preset: str | None = None,
    *,
    predictions: PredictionsOf = no_predictions,
    history: "History" = no_history,
    pixels: "Pixels | None" = None,
    tracking_uri: str = "",
    log: Callable[[str], None] = lambda line: None,
    formats: Sequence[str] = ("html", "json"),
    left_out: Sequence[str] = (),
) -> Report:
    """Build the report from `runs` and write it into `out`.

    Everything is built in memory first and then put in place whole: ``index.html``,
    ``findings.json``, ``published-vs-measured.csv``, ``tables/table-01.csv`` to
    ``table-11.csv`` with ``.md`` and ``.tex`` beside each, and ``figures/``. The same runs give
    the same tables and findings, byte for byte.

    Args:
        runs: one row a run, columns as in `mnist_ops.compare.runs.COLUMNS`.
        expected: preset -> the cells that it should have.
        not_measured: fingerprint -> why the cell could not be run.
        out: folder; made where it does not exist. Other files in it are left alone.
        preset: which cells; None takes the preset with the most finished ones.
        predictions: run id -> its test-set predictions; asked only for runs that a finding or a
            figure needs, each once.
        history: run id, metric -> step and value of each point; likewise.
        pixels: data set, indices -> images, to show what is confused; None shows none.
        tracking_uri: of the store, for links to the runs where it is a server's.
        log: gets a line for people, as when there is no browser to draw images with.
        formats: of the figures, from `figures.FORMATS`; images need a browser, and take seconds.
        left_out: a line on each run of the store that is not among `runs`, as it cannot be right.

    Raises:
        NoRuns: there are no runs, or none at `preset`.
        CannotWrite: the report cannot be written; an older one in `out` is as it was.
    """
    # plotly takes a second to import: who only reads findings does without it.
    from mnist_ops.compare.extra_analyses import all_topics
    from mnist_ops.compare.figures import all_figures, export

    predictions, history = functools.cache(predictions), functools.cache(history)
    selection = select(runs, expected, not_measured, preset, left_out)
    tables = all_tables(selection)
    findings = claims.all_findings(selection, predictions)
    agreement = published_numbers.agreement(selection, tables, predictions)
    official = _selected(runs, _official_label(selection.preset))
    if official is not None:
        agreement = published_numbers.with_official(
            agreement,
            published_numbers.agreement(official, all_tables(official), predictions),
        )
    answers = headlines(Evidence(selection, predictions))
    topics = all_topics(selection, _selected(runs, _whole(selection.preset), expected))
    figures = all_figures(selection, tables, agreement, history, predictions, pixels)
    figures += [topic.figure for topic in topics if topic.figure is not None]
    total = selection.total
    source = f"Preset {selection.preset}: {total.finished} of {total.expected} cells finished."
    texts = {
        "findings.json": claims.to_json(findings),
        "published-vs-measured.csv": published_numbers.to_csv(agreement),
    }
    for table in tables:
        texts[f"tables/{table.stem}.csv"] = to_csv(table)
        texts[f"tables/{table.stem}.md"] = to_markdown(table, source)
        texts[f"tables/{table.stem}.tex"] = to_latex(table, source)
    files = {name: text.encode() for name, text in texts.items()}
    files |= export(figures, log, formats)
    index = page.render(
        selection,
        tables,
        findings,
        agreement,
        figures,
        topics=topics,
        headlines=answers,
        files=files,
        tracking_uri=tracking_uri,
    )
    paths = publish({"index.html": index.encode()} | files, out)
    return Report(
        out=out,
        paths=tuple(paths),
        selection=selection,
        tables=tuple(tables),
        findings=tuple(findings),
        agreement=agreement,
        headlines=tuple(answers),
        topics=tuple(topics),
    )


def _official_label(preset: str) -> str:
    """The label of the support vector machines of `preset` on official test images."""
    return STUDIES["svm"].official_label(preset) if preset in PRESETS else ""


def _whole(preset: str) -> str:
    """The preset at which support vector machines see all images, where `preset` is smaller."""
    return "rigorous" if preset == "paper" else ""


def _selected(
    runs: pd.DataFrame,
    preset: str,
    expected: Callable[[str], Sequence[Spec]] = lambda preset: (),
) -> Selection | None:
    """The cells of another preset than the report's; None where it has no finished run."""
    if PRESET not in runs:
        return None
    ours = (runs[PRESET] == preset) & (runs[STATUS] == "FINISHED") & runs[STUDY].notna()
    return select(runs, expected, {}, preset) if ours.any() else None


def _known(value: Any) -> Any:
    """JSON has no number for one that is not there."""
    return None if isinstance(value, float) and math.isnan(value) else value
