"""What the study could not show: questions that it leaves open, answered from the runs.

`all_topics` gives those for which there are runs, each in plain words with a table and, where it
helps, a figure; `to_markdown` is the page of them.
"""

from collections.abc import Mapping, Sequence

from mnist_ops.compare.extra_analyses.all_images import all_images_topic
from mnist_ops.compare.extra_analyses.budget import budget_topic
from mnist_ops.compare.extra_analyses.noise import noise_topic
from mnist_ops.compare.extra_analyses.topic import Topic
from mnist_ops.compare.extra_analyses.weights import weights_topic
from mnist_ops.compare.render import Markdown, markdown_table
from mnist_ops.compare.selection import Selection

__all__ = ["Topic", "all_topics", "to_markdown"]


def all_topics(selection: Selection, whole: Selection | None) -> list[Topic]:
    """The topics that these runs can speak to.

    Args:
        selection: the cells of the report.
        whole: the cells at the size at which support vector machines see all images, if any.
    """
    topics = (
        noise_topic(selection),
        all_images_topic(selection, whole),
        budget_topic(selection),
        weights_topic(selection),
    )
    return [topic for topic in topics if topic is not None]


def to_markdown(topics: Sequence[Topic], pictures: Mapping[str, str]) -> str:
    """The topics as Markdown.

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
