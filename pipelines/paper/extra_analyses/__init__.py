"""Extra analyses: questions that the paper leaves open, answered from the runs."""

from mnist_ops.compare.extra_analyses import Topic
from mnist_ops.compare.paper import SelectionAt
from mnist_ops.compare.selection import Selection

from ..studies import PRESET
from .all_images import all_images_topic
from .budget import budget_topic
from .matters import matters_topics
from .noise import noise_topic
from .weights import weights_topic

# The preset at which support vector machines see all images.
_ALL_IMAGES = "rigorous"


def extra_analyses(selection: Selection, at: SelectionAt) -> list[Topic]:
    """Return the topics for which there are runs.

    Args:
        selection: the cells of the report.
        at: the cells at another preset.
    """
    whole = at(_ALL_IMAGES) if selection.preset == PRESET else None
    topics = (
        noise_topic(selection),
        all_images_topic(selection, whole),
        budget_topic(selection),
        weights_topic(selection),
        *matters_topics(selection),
    )
    return [topic for topic in topics if topic is not None]
