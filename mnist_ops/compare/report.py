"""Runs in, report out: tables, findings and figures, measured beside published.

The runs come as a frame, one row a run (see `mnist_ops.compare.runs`), and what a run has beyond
that, its predictions and the course of its metrics, is asked for where it is needed; nothing here
knows the tracking store, or any paper but the one that it gets.
"""

import dataclasses
import functools
import math
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mnist_ops.compare import agreement as published_numbers
from mnist_ops.compare import extra_analyses, page
from mnist_ops.compare.files import CannotWrite, publish
from mnist_ops.compare.findings import all_findings, baseline
from mnist_ops.compare.findings.evidence import Evidence
from mnist_ops.compare.findings.finding import Finding, verdicts
from mnist_ops.compare.joint_agreement import (
    joint_agreement,
    joint_topic,
    sentence,
    to_frame,
)
from mnist_ops.compare.markdown_summary import best_results, markdown_summary
from mnist_ops.compare.official_images import official_fits, official_sentence, official_topic
from mnist_ops.compare.paper import Paper
from mnist_ops.compare.render import to_csv, to_latex, to_markdown
from mnist_ops.compare.results import Results, Source
from mnist_ops.compare.runs import PRESET, STATUS, STUDY, typed
from mnist_ops.compare.sections import BEYOND, RESULTS, SUMMARY, replace_sections, sections_in
from mnist_ops.compare.selection import Selection, select
from mnist_ops.study.specs import OFFICIAL, Spec

Expected = Callable[[str], Sequence[Spec]]


@dataclass(frozen=True)
class Report:
    """What was written, and what it says.

    Attributes:
        out: the folder.
        paths: every file written, the page first.
        paper: what the runs are compared with.
        results: what the report says.
    """

    out: Path
    paths: tuple[Path, ...]
    paper: Paper
    results: Results

    @property
    def page(self) -> Path:
        """Return the path of the page."""
        return self.paths[0]

    def lines(self) -> list[str]:
        """Return the report for a terminal: cells by study, excluded runs, answers and verdicts."""
        results = self.results
        preset = results.selection.preset
        lines = [f"Preset {preset}"] if preset else []
        for row in (*results.selection.coverage, results.selection.total):
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
        lines += [note.text for note in results.selection.notes]
        lines += [f"{headline.question}: {headline.answer}" for headline in results.headlines]
        if results.findings:
            found = ", ".join(f"{n} {verdict}" for verdict, n in verdicts(results.findings).items())
            lines.append(f"{len(results.findings)} findings ({results.findings[0].scope}): {found}")
        if results.agreement.empty:
            return lines
        agrees = Counter(results.agreement["agrees"])
        counted = ", ".join(f"{word} {count}" for word, count in sorted(agrees.items()))
        lines.append(f"{len(results.agreement)} published numbers, agreeing: {counted}")
        said = (sentence(results.joint), official_sentence(results.official))
        return [*lines, *(text for text in said if text)]

    def as_dict(self) -> dict[str, Any]:
        """Return the report for programs: JSON types only, numbers at full precision."""
        results = self.results
        return {
            "preset": results.selection.preset,
            "page": str(self.page),
            "files": [str(path) for path in self.paths],
            "cells": dataclasses.asdict(results.selection.total),
            "studies": [dataclasses.asdict(row) for row in results.selection.coverage],
            "not_finished": [
                {
                    "name": cell.name,
                    "study": cell.study,
                    "fingerprint": cell.fingerprint,
                    "status": cell.status,
                    "reason": cell.reason,
                }
                for cell in results.selection.not_finished
            ],
            "notes": [
                {"text": note.text, "names": list(note.names)} for note in results.selection.notes
            ],
            "tables": [
                {
                    "number": table.number,
                    "title": table.title,
                    "rows": table.frame.to_dict("records"),
                    "notes": list(table.notes),
                }
                for table in results.tables
            ],
            "headlines": [dataclasses.asdict(headline) for headline in results.headlines],
            "findings": [finding.as_dict() for finding in results.findings],
            "beyond": [
                {
                    "title": topic.title,
                    "paragraphs": list(topic.paragraphs),
                    "rows": [dict(zip(topic.head, row, strict=True)) for row in topic.rows],
                }
                for topic in results.topics
            ],
            "published_vs_measured_jointly": [dataclasses.asdict(each) for each in results.joint],
            "published_vs_measured": [
                {str(name): _known(value) for name, value in row.items()}
                for row in results.agreement.to_dict("records")
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
        stems = {
            SUMMARY: (),
            RESULTS: tuple(self.paper.summary_figures),
            BEYOND: tuple(
                topic.figure.stem for topic in self.results.topics if topic.figure is not None
            ),
        }
        texts = {}
        for name in sections_in(path):
            shown = {f"{stem}.png": stem for stem in stems[name]}
            found = [file for file in self.paths if file.name in shown]
            if pictures is not None:
                found = publish({file.name: file.read_bytes() for file in found}, pictures)
            places = {shown[file.name]: os.path.relpath(file, path.parent or ".") for file in found}
            places = {stem: places[stem] for stem in stems[name] if stem in places}
            texts[name] = self._section(name, places)
        replace_sections(path, texts)

    def _section(self, name: str, pictures: Mapping[str, str]) -> str:
        if name == SUMMARY:
            return best_results(self.paper, self.results)
        if name == RESULTS:
            return markdown_summary(self.paper, self.results, pictures)
        return extra_analyses.to_markdown(self.results.topics, pictures)

    def lost(self, recorded: Path | None = None) -> list[Finding]:
        """Return the claims that were supported in a ``findings.json`` and are no longer.

        Args:
            recorded: the file; None takes the one that is recorded with the paper.

        Raises:
            NoBaseline: none is recorded.
            InvalidInput: `recorded` cannot be read as one.
        """
        before = baseline.read(recorded) if recorded else baseline.recorded(self.paper.baseline)
        return baseline.check(self.results.findings, before)


def summarize(
    source: Source,
    paper: Paper,
    out: Path,
    preset: str | None = None,
    *,
    expected: Expected | None = None,
    selection: Selection | None = None,
    formats: Sequence[str] = ("html", "json"),
    log: Callable[[str], None] = lambda line: None,
) -> Report:
    """Build the report on the runs of `source` and write it into `out`.

    Everything is built in memory first and then put in place whole: ``index.html``,
    ``findings.json``, ``published-vs-measured.csv``, ``tables/table-01.csv`` and so on with
    ``.md`` and ``.tex`` beside each, and ``figures/``. The same runs give the same tables and
    findings, byte for byte.

    Args:
        source: the runs.
        paper: what they are compared with.
        out: folder; made where it does not exist. Other files in it are left alone.
        preset: which cells; None takes the preset with the most finished ones.
        expected: preset -> the cells that it should have; None takes those of the paper's studies.
        selection: the cells themselves, where no study says which there should be.
        formats: of the figures, from `figures.export.FORMATS`; images need a browser.
        log: gets a line for the user, as when there is no browser to draw images with.

    Raises:
        NoRuns: there are no runs, or none at `preset`.
        CannotWrite: the report cannot be written; an older one in `out` is as it was.
    """
    if out.is_file():
        raise CannotWrite(
            f"cannot write the report to {out}: it is not a folder; choose another place"
        )

    # plotly takes a second to import: who only reads findings does without it.
    from mnist_ops.compare.figures.export import export

    source = dataclasses.replace(
        source,
        runs=typed(source.runs),
        predictions=functools.cache(source.predictions),
        history=functools.cache(source.history),
    )
    chosen = selection or select(
        source.runs,
        expected or paper.cells,
        source.not_measured,
        preset,
        source.left_out,
        paper.studies,
    )
    results = _results(source, paper, chosen, expected or paper.cells)
    files = {name: text.encode() for name, text in _texts(paper, results).items()}
    files |= export(results.figures, log, formats, out)
    index = page.render(paper, results, files=files, tracking_uri=source.tracking_uri)
    paths = publish({"index.html": index.encode()} | files, out)
    return Report(out, tuple(paths), paper, results)


def evidence_of(source: Source, paper: Paper, preset: str | None = None) -> Evidence:
    """Return what the paper's claims are tested on.

    Args:
        source: the runs.
        paper: whose claims.
        preset: which cells; None takes the preset with the most finished ones.

    Raises:
        NoRuns: there are no runs, or none at `preset`.
    """
    source = dataclasses.replace(source, runs=typed(source.runs))
    chosen = select(
        source.runs, paper.cells, source.not_measured, preset, source.left_out, paper.studies
    )

    def at(other: str) -> Selection | None:
        return _selected(source, paper, other, paper.cells)

    return Evidence(chosen, functools.cache(source.predictions), paper.sizes, at)


def _results(source: Source, paper: Paper, selection: Selection, expected: Expected) -> Results:
    def at(other: str, cells: Expected = expected) -> Selection | None:
        return _selected(source, paper, other, cells)

    def compare(chosen: Selection) -> pd.DataFrame:
        evidence = Evidence(chosen, source.predictions, paper.sizes)
        return published_numbers.agreement(paper, evidence, paper.build_tables(chosen))

    agreement = compare(selection)
    labels = [
        study.departed_label(selection.preset, OFFICIAL)
        for study in paper.studies
        if selection.preset in study.presets
    ]
    for label in dict.fromkeys(labels):
        if on_official := at(label, lambda preset: ()):
            agreement = published_numbers.with_official(agreement, compare(on_official))
    evidence = Evidence(selection, source.predictions, paper.sizes, at)
    joint = joint_agreement(paper, evidence, agreement)
    official = official_fits(paper, agreement)
    topics = [
        topic
        for topic in (
            *paper.extra_analyses(selection, at),
            joint_topic(joint),
            official_topic(official),
        )
        if topic is not None
    ]
    results = Results(
        selection=selection,
        tables=tuple(paper.build_tables(selection)),
        findings=tuple(all_findings(evidence, paper.claims)),
        agreement=agreement,
        joint=joint,
        official=official,
        headlines=tuple(paper.headlines(evidence)),
        topics=tuple(topics),
    )
    figures = paper.figures(results, source)
    figures += [topic.figure for topic in topics if topic.figure is not None]
    return dataclasses.replace(results, figures=tuple(figures))


def _texts(paper: Paper, results: Results) -> dict[str, str]:
    total = results.selection.total
    preset = results.selection.preset
    origin = f"{total.finished} of {total.expected} cells finished."
    origin = f"Preset {preset}: {origin}" if preset else origin
    texts = {}
    if paper.claims:
        texts["findings.json"] = baseline.to_json(results.findings)
    if paper.published.numbers:
        texts["published-vs-measured.csv"] = published_numbers.to_csv(results.agreement)
        if results.joint:
            jointly = to_frame(results.joint)
            texts["published-vs-measured-jointly.csv"] = published_numbers.to_csv(jointly)
    for table in results.tables:
        texts[f"tables/{table.stem}.csv"] = to_csv(table)
        texts[f"tables/{table.stem}.md"] = to_markdown(table, origin)
        texts[f"tables/{table.stem}.tex"] = to_latex(table, origin)
    return texts


def _selected(source: Source, paper: Paper, preset: str, cells: Expected) -> Selection | None:
    """Return the cells of another preset than the report's; None if it has no finished run."""
    runs = source.runs
    ours = (runs[PRESET] == preset) & (runs[STATUS] == "FINISHED") & runs[STUDY].notna()
    return select(runs, cells, {}, preset, studies=paper.studies) if ours.any() else None


def _known(value: Any) -> Any:
    """JSON has no number for one that is not there."""
    return None if isinstance(value, float) and math.isnan(value) else value
