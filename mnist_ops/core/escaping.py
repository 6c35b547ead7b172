"""Escape untrusted texts for a terminal, a spreadsheet, or a program."""

import os
import re
from pathlib import Path

from mnist_ops.core.redaction import redacted

# Control characters but newline and tab, halves of surrogate pairs, and the marks that make a text
# read in another direction.
_HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
# Text that spreadsheets treat as a formula, unless it is a number.
_FORMULA = re.compile(r"\s*[=+\-@]")
_NUMBER = re.compile(r"[-+]?(\d[\d,]*\.?\d*|\.\d+)(e[-+]?\d+)?\s*%?", re.IGNORECASE)


def printable(text: str) -> str:
    """Return `text` as one printable line.

    White space becomes plain spaces. Control characters, marks of direction, characters without
    width and undecodable bytes become U+FFFD.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)


def portable_text(text: str, limit: int) -> str:
    """Return `text` without secrets and control characters, its lines kept, cut at `limit`."""
    return _HARMFUL.sub("\ufffd", redacted(text))[:limit]


def field(text: str) -> str:
    """Return `text` as a CSV field, with ``'`` before text that spreadsheets treat as a formula."""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def file_uri(path: Path) -> str:
    """Return the ``file:`` URI of `path`, with every byte of its name, percent-encoded."""
    return Path(os.path.abspath(path)).as_uri()  # noqa: PTH100 - symbolic links stay unresolved
