"""Tables as CSV, Markdown and LaTeX: the same text for the same table, always.

Each kind of output has one place that escapes what a text may hold: `csv_text`, `Markdown`, `_tex`.
"""

import math
import re
from collections.abc import Callable, Sequence

import pandas as pd
from markupsafe import Markup

from mnist_ops.compare.tables.table import PLAIN, Column, Kind, Table, Value
from mnist_ops.core.escaping import field

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
# What Markdown takes for more than text, but underscores, which at worst slant it; GitHub links
# addresses by themselves.
_MARKDOWN = re.compile(r"[&<>|*`\\\[\]~$]|:(?=//)|(?<=www)\.|@(?=\w)", re.IGNORECASE)
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", ":": "&#58;", ".": "&#46;", "@": "&#64;"}


class Markdown(Markup):
    """Markdown that stays as it is; what is formatted or joined into it is escaped."""

    @classmethod
    def escape(cls, text: object, /) -> "Markdown":
        """Return `text` as Markdown that shows it, in one line."""
        if isinstance(text, Markdown):
            return text
        line = _one_line(str(text))
        return cls(_MARKDOWN.sub(lambda m: _ENTITIES.get(m[0], f"\\{m[0]}"), line))

    @classmethod
    def code(cls, text: str) -> "Markdown":
        """Return `text` as a span of code, also in a table."""
        return cls("`{}`".format(_one_line(text).replace("`", "'").replace("|", "/")))


def plain(value: Value, kind: Kind) -> str:
    """Return a value for programs: rounded, without unit or plus sign."""
    if isinstance(value, str | bool) or kind.decimals is None:
        return str(value)
    return f"{value:z.{_decimals(value, kind)}f}"


def readable(value: Value, kind: Kind) -> str:
    """Return a value for readers: rounded, with its unit, and its sign in differences."""
    text = plain(value, kind)
    if text == "":
        return NOTHING
    if isinstance(value, str | bool) or kind.decimals is None:
        return text
    sign = "+" if kind.signed and float(text) > 0 else ""
    return f"{sign}{text}{kind.unit}"


def minus(text: str) -> str:
    """Return a number's text with a minus sign that is as wide as a plus."""
    return text.replace("-", "\N{MINUS SIGN}", 1)


def p_text(value: float | None) -> str:
    """Return a p-value with two significant digits; empty without one."""
    if value is None:
        return ""
    return "< 0.0001" if value < 0.0001 else f"{value:.2g}"


def p_statement(value: float) -> str:
    """Return ``p = 0.0031`` or ``p < 0.0001``."""
    text = p_text(value)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def to_csv(table: Table) -> str:
    """Return the table as CSV under its columns' names."""
    frame = _texts(table, plain)
    frame.columns = [column.name for column in table.columns]
    return csv_text(frame)


def csv_text(frame: pd.DataFrame, float_format: str | None = None) -> str:
    """Return the frame as CSV in which a spreadsheet finds no formulas."""
    texts = frame.select_dtypes("object")
    safe = texts.map(lambda value: field(value) if isinstance(value, str) else value)
    whole = frame.assign(**{str(name): safe[name] for name in safe})
    return whole.to_csv(index=False, lineterminator="\n", float_format=float_format)


def to_markdown(table: Table, source: str) -> str:
    """Return the table as a GitHub pipe table under its title, with notes and `source` below."""
    frame = _texts(table, readable).map(Markdown.escape)
    frame.columns = [Markdown.escape(column.heading) for column in table.columns]
    body = frame.to_markdown(
        index=False,
        disable_numparse=True,
        colalign=["right" if is_numeric(table, column) else "left" for column in table.columns],
    )
    notes = "".join(f"- {Markdown.escape(note)}\n" for note in (*table.notes, source))
    return f"**Table {table.number}: {Markdown.escape(table.title)}**\n\n{body}\n\n{notes}"


def to_latex(table: Table, source: str) -> str:
    """Return the table as a LaTeX float for booktabs, notes and `source` as comments above."""
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


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> Markdown:
    """Texts and Markdown as a pipe table; `align` has ``l`` or ``r`` for each column."""
    cells = [[str(Markdown.escape(text)) for text in row] for row in rows]
    sides = {"l": "left", "r": "right"}
    return Markdown(
        pd.DataFrame(cells, columns=list(head)).to_markdown(
            index=False, disable_numparse=True, colalign=[sides[letter] for letter in align]
        )
    )


def is_numeric(table: Table, column: Column) -> bool:
    """Return whether the column is numeric, so that its values are aligned right."""
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


def _tex(text: str) -> str:
    return _one_line("".join(_TEX.get(letter, letter) for letter in text))


def _one_line(text: str) -> str:
    return " ".join(text.split())
