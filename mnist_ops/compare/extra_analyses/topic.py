"""A question beyond the study, and its answer."""

from dataclasses import dataclass

from mnist_ops.compare.figures.figure import Figure


@dataclass(frozen=True)
class Topic:
    """One question and its answer, for readers who have not seen the study.

    Attributes:
        title: the answer's subject, in one line, no full stop.
        paragraphs: the answer in words.
        head: headings of the table.
        rows: its cells, as people read them.
        align: of each column, ``l`` or ``r``.
        figure: a picture of it; None where the table says all.
    """

    title: str
    paragraphs: tuple[str, ...]
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    align: str
    figure: Figure | None = None
