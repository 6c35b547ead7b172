"""Runs in, report out: the study's tables, every measured value beside the published one.

The runs come as a frame, one row a run (see `mnist_ops.compare.runs`); nothing here asks the
tracking store. What is to read numbers, as figures and findings do, reads `Report.tables` and
`Report.selection`.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mnist_ops.compare import page
from mnist_ops.compare.cells import Cell
from mnist_ops.compare.files import CannotWrite, publish
from mnist_ops.compare.render import to_csv, to_latex, to_markdown
from mnist_ops.compare.selection import Coverage, NoRuns, Note, Selection, select
from mnist_ops.compare.tables import Table, all_tables
from mnist_ops.specs import Spec

__all__ = [
    "CannotWrite",
    "Cell",
    "Coverage",
    "NoRuns",
    "Note",
    "Report",
    "Selection",
    "Table",
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
    """

    out: Path
    paths: tuple[Path, ...]
    selection: Selection
    tables: tuple[Table, ...]

    @property
    def page(self) -> Path:
        """The page to open."""
        return self.paths[0]

    def lines(self) -> list[str]:
        """The report for a terminal: the cells by study, and what was left out."""
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
        return lines + [note.text for note in self.selection.notes]

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
        }


def summarize(
    runs: pd.DataFrame,
    expected: Callable[[str], Sequence[Spec]],
    not_measured: Mapping[str, str],
    out: Path,
    preset: str | None = None,
) -> Report:
    """Build the report from `runs` and write it into `out`.

    Everything is built in memory first and then put in place whole: ``index.html`` and
    ``tables/table-01.csv`` to ``table-11.csv``, with ``.md`` and ``.tex`` beside each. The same
    runs give the same bytes.

    Args:
        runs: one row a run, columns as in `mnist_ops.compare.runs.COLUMNS`.
        expected: preset -> the cells that it should have.
        not_measured: fingerprint -> why the cell could not be run.
        out: folder; made where it does not exist. Other files in it are left alone.
        preset: which cells; None takes the preset with the most finished ones.

    Raises:
        NoRuns: there are no runs, or none at `preset`.
        CannotWrite: the report cannot be written; an older one in `out` is as it was.
    """
    selection = select(runs, expected, not_measured, preset)
    tables = all_tables(selection)
    total = selection.total
    source = f"Preset {selection.preset}: {total.finished} of {total.expected} cells finished."
    texts = {"index.html": page.render(selection, tables)}
    for table in tables:
        texts[f"tables/{table.stem}.csv"] = to_csv(table)
        texts[f"tables/{table.stem}.md"] = to_markdown(table, source)
        texts[f"tables/{table.stem}.tex"] = to_latex(table, source)
    paths = publish({name: text.encode() for name, text in texts.items()}, out)
    return Report(out, tuple(paths), selection, tuple(tables))
