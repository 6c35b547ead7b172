"""Tables as CSV, Markdown and LaTeX: the same text for the same table, always."""

import math
from collections.abc import Callable, Sequence

import pandas as pd

from mnist_ops.compare.tables.table import PLAIN, Column, Kind, Table, Value

# Where nothing is to be said, people see a dash, and programs an empty field.
NOTHING = "\N{EN DASH}"

_TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{EN DASH}": "--",
}
_MARKDOWN = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": r"\|", "*": r"\*", "`": r"\`"}


def plain(value: Value, kind: Kind) -> str:
    """A value for programs: rounded, without unit or plus sign."""
    if isinstance(value, str | bool) or kind.decimals is None:
        return str(value)
    text = f"{value:.{_decimals(value, kind)}f}"
    # A rounded nothing has no sign.
    return text.removeprefix("-") if float(text) == 0 else text


def readable(value: Value, kind: Kind) -> str:
    """A value for people: rounded, with its unit, and its sign in a column of differences."""
    text = plain(value, kind)
    if text == "":
        return NOTHING
    if isinstance(value, str | bool) or kind.decimals is None:
        return text
    sign = "+" if kind.signed and float(text) > 0 else ""
    return f"{sign}{text}{kind.unit}"


def minus(text: str) -> str:
    """A number's text with a minus sign that is as wide as a plus."""
    return text.replace("-", "\N{MINUS SIGN}", 1)


def to_csv(table: Table) -> str:
    """The table as CSV under its columns' names."""
    frame = _texts(table, plain)
    frame.columns = [column.name for column in table.columns]
    return frame.to_csv(index=False, lineterminator="\n")


def to_markdown(table: Table, source: str) -> str:
    """The table as a GitHub pipe table under its title, notes below, `source` last."""
    frame = _texts(table, readable).map(_markdown)
    frame.columns = [_markdown(column.heading) for column in table.columns]
    body = frame.to_markdown(
        index=False,
        disable_numparse=True,
        colalign=["right" if is_numeric(table, column) else "left" for column in table.columns],
    )
    notes = "".join(f"- {_markdown(note)}\n" for note in (*table.notes, source))
    return f"**Table {table.number}: {_markdown(table.title)}**\n\n{body}\n\n{notes}"


def to_latex(table: Table, source: str) -> str:
    """The table as a LaTeX float for booktabs, notes and `source` as comments above it."""
    frame = _texts(table, readable).map(_tex)
    frame.columns = [_tex(column.heading) for column in table.columns]
    body = frame.to_latex(
        index=False,
        escape=False,
        caption=_tex(table.title),
        label=f"tab:mnist-ops-{table.number:02d}",
        position="htbp",
        column_format="".join("r" if is_numeric(table, c) else "l" for c in table.columns),
    )
    comments = "".join(f"% {_one_line(note)}\n" for note in (*table.notes, source))
    return f"% Needs \\usepackage{{booktabs}}.\n{comments}{body}"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    """Cells of Markdown as a pipe table; `align` has ``l`` or ``r`` for each column."""
    cells = [[text.replace("|", r"\|") for text in row] for row in rows]
    sides = {"l": "left", "r": "right"}
    return str(
        pd.DataFrame(cells, columns=list(head)).to_markdown(
            index=False, disable_numparse=True, colalign=[sides[letter] for letter in align]
        )
    )


def is_numeric(table: Table, column: Column) -> bool:
    """Whether the column is for numbers, so that its values stand on the right."""
    return column.kind != PLAIN or any(
        isinstance(value, int | float) and not isinstance(value, bool)
        for value in table.frame[column.name]
    )


def _texts(table: Table, write: Callable[[Value, Kind], str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            column.name: [write(value, column.kind) for value in table.frame[column.name]]
            for column in table.columns
        },
        dtype="object",
    )


def _decimals(value: float, kind: Kind) -> int:
    decimals = kind.decimals or 0
    if kind.significant and 0 < abs(value) < 1:
        return max(decimals, kind.significant - 1 - math.floor(math.log10(abs(value))))
    return decimals


def _markdown(text: str) -> str:
    return _one_line("".join(_MARKDOWN.get(letter, letter) for letter in text))


def _tex(text: str) -> str:
    return _one_line("".join(_TEX.get(letter, letter) for letter in text))


def _one_line(text: str) -> str:
    return " ".join(text.split())
