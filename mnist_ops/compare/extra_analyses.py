"""Questions that a paper leaves open, each with its answer from the runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnist_ops.compare.render import Markdown, markdown_table

if TYPE_CHECKING:
    from mnist_ops.compare.figures.figure import Figure


@dataclass(frozen=True)
class Topic:
    """One question and its answer, for readers who have not seen the paper.

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
    figure: "Figure | None" = None


def to_markdown(topics: Sequence[Topic], pictures: Mapping[str, str]) -> str:
    """Return the topics as Markdown.

    Args:
        topics: in order.
        pictures: stem of a figure -> address of its picture, for those that are shown.
    """
    parts: list[str] = []
    for topic in topics:
        parts += [f"## {topic.title}", *map(Markdown.escape, topic.paragraphs)]
        if topic.figure is not None and topic.figure.stem in pictures:
            parts.append(f"![{topic.figure.title}]({pictures[topic.figure.stem]})")
            parts.append(Markdown("*{}*").format(topic.figure.caption))
        parts.append(markdown_table(topic.head, topic.rows, topic.align))
    return "\n\n".join(parts) + "\n"
