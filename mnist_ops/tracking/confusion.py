"""Draw the confusion matrix of a run, as a picture that MLflow's UI shows."""

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

_CELL = 34
_TOP, _GAP = 64, 8
# Counts of smaller cells would not be readable.
_CLASSES_WITH_COUNTS = 30
_CHARACTER = 7
_INK, _PAPER = "#1f2933", "#ffffff"


def confusion_svg(
    title: str,
    class_names: Sequence[str],
    labels: NDArray[np.uint8],
    predicted: NDArray[np.uint8],
) -> str:
    """Return the confusion matrix as SVG: a row a true class, a column a predicted one.

    A cell is as dark as its share of the row. Written as text, since a plotting library takes
    longer to load than many fits.

    Args:
        title: the heading.
        class_names: the names of classes 0, 1, ...
        labels: the true classes, shape (n,).
        predicted: the predicted classes, shape (n,).
    """
    n = max(len(class_names), int(max(labels.max(), predicted.max())) + 1)
    names = [*class_names, *map(str, range(len(class_names), n))]
    counts = np.zeros((n, n), dtype=np.int64)
    np.add.at(counts, (labels, predicted), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    left = _CHARACTER * max(map(len, names)) + 3 * _GAP
    width = left + n * _CELL + _GAP
    right = f"{np.trace(counts):,} of {counts.sum():,} test images right"
    parts = [_text(_GAP, 22, title, "start", bold=True), _text(_GAP, 42, right, "start")]
    for row in range(n):
        y = _TOP + row * _CELL
        parts.append(_text(left - _GAP, y + _CELL // 2 + 4, names[row], "end"))
        for column in range(n):
            x = left + column * _CELL
            share = shares[row, column]
            tip = f"{names[row]} taken for {names[column]}: {counts[row, column]:,} ({share:.1%})"
            parts.append(
                f'<rect x="{x}" y="{y}" width="{_CELL - 1}" height="{_CELL - 1}" '
                f'fill="{_colour(row == column, share)}"><title>{escape(tip)}</title></rect>'
            )
            if counts[row, column] and n <= _CLASSES_WITH_COUNTS:
                ink = _PAPER if share > 0.5 else _INK
                middle = x + (_CELL - 1) / 2
                parts.append(
                    _text(middle, y + _CELL // 2 + 4, str(counts[row, column]), "middle", ink)
                )
    bottom = _TOP + n * _CELL
    for column, name in enumerate(names):
        x, y = left + column * _CELL + _CELL // 2 + 4, bottom + _GAP
        parts.append(
            f'<text transform="translate({x} {y}) rotate(-90)" text-anchor="end" '
            f'fill="{_INK}">{escape(name)}</text>'
        )
    caption = bottom + left
    parts.append(_text(_GAP, caption, "Rows: true class. Columns: predicted class.", "start"))
    width = max(width, _CHARACTER * max(len(title), len(right)) + 2 * _GAP)
    height = caption + 2 * _GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="sans-serif" font-size="12">'
        f'<rect width="{width}" height="{height}" fill="{_PAPER}"/>{"".join(parts)}</svg>\n'
    )


def _colour(right: bool, share: float) -> str:
    """Return blue for right answers and red for wrong ones, from white on."""
    # Errors are rare: their shade grows faster.
    depth = share if right else share**0.5
    full = (31, 91, 164) if right else (178, 40, 46)
    return "#" + "".join(f"{round(255 - depth * (255 - part)):02x}" for part in full)


def _text(
    x: float, y: float, text: str, anchor: str, ink: str = _INK, *, bold: bool = False
) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="{ink}"{weight}>'
        f"{escape(text)}</text>"
    )
