"""The best configuration of a study on a data set."""

from dataclasses import dataclass

from mnist_ops.compare.cells import Cell, identity
from mnist_ops.compare.selection import Selection
from mnist_ops.compare.tables.grid import having
from mnist_ops.compare.tables.labels import configuration, model_label
from mnist_ops.compare.tables.measure import Group, absence, best, grouped
from mnist_ops.core import keys


@dataclass(frozen=True)
class Champion:
    """The best configuration of a study on a data set.

    Attributes:
        cells: all its cells, one a seed; where nothing could be chosen, all cells of the study
            on the data set, none of which has the accuracy to choose by.
        model: what its model is called; empty where nothing could be chosen.
        text: its hyper-parameters, or why there are none.
    """

    cells: Group
    model: str
    text: str


def champion(selection: Selection, study: str, dataset: str, metric: str) -> Champion:
    """Return the configuration with the highest `metric`, mean over seeds; the first of equals."""
    cells = having(selection.of(study), {keys.DATASET: dataset})
    chosen = best(by_configuration(cells), metric)
    if chosen is None:
        unfinished = [cell for cell in cells if not cell.finished]
        return Champion(unfinished, "", absence(unfinished))
    first = chosen[0]
    return Champion(
        chosen,
        model_label(str(first.params.get(keys.MODEL, ""))),
        configuration(first.params, first.variant),
    )


def by_configuration(cells: Group) -> list[list[Cell]]:
    """Return the cells by configuration: those of one differ in nothing but the seed."""
    return list(grouped(cells, lambda cell: identity(cell, keys.SEED)).values())
