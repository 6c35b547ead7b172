"""Texts of others, made safe for where they are shown: a terminal, a spreadsheet, a program."""

import os
import re
from pathlib import Path

# What spreadsheets take for a formula, unless it is a number.
_FORMULA = re.compile(r"\s*[=+\-@]")
_NUMBER = re.compile(r"[-+]?(\d[\d,]*\.?\d*|\.\d+)(e[-+]?\d+)?\s*%?", re.IGNORECASE)


def printable(text: str) -> str:
    """Return `text` as one line without what steers a terminal or hides in a text.

    Every space is a plain one; control characters, marks of direction, characters without width
    and bytes that are no text become U+FFFD.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)


def field(text: str) -> str:
    """Return `text` as a field of CSV: with ``'`` before what spreadsheets take for a formula."""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def file_uri(path: Path) -> str:
    """Return the ``file:`` address of `path`, which has every byte of its name, percent-encoded."""
    return Path(os.path.abspath(path)).as_uri()  # noqa: PTH100 - links are kept as they are
