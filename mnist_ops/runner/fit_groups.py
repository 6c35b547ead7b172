"""Group cells that can share one fit.

With a constant learning rate a training of 2 epochs is the beginning of one of 5, bit for bit; and
without an accelerator there is no transfer that pinned memory could change. Cells that differ in
nothing else are one path through weight space: it is trained once, to its longest, and gives
each cell its result on the way.

Support vector machines that differ in C, or in how gamma follows from the pixels, share their inner
products and most of their kernel values: they are fitted together, each with a solution of its own.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from mnist_ops.study.specs import Spec


@dataclass(frozen=True)
class FitGroup:
    """Cells that one fit serves.

    Attributes:
        key: names the group; the same in every grid.
        cells: the one that is fitted first, then those that get its results.
    """

    key: str
    cells: tuple[Spec, ...]

    @property
    def fitted(self) -> Spec:
        """The cell whose fit is computed, and whose time is measured."""
        return self.cells[0]

    @property
    def cost(self) -> float:
        """What the fit costs, in units that only compare with each other."""
        # It takes seconds, for which those that only group cells need not wait.
        from mnist_ops.fitting import methods

        return methods.cost(self.fitted)


def grouped(cells: Iterable[Spec], *, share: bool) -> list[FitGroup]:
    """Group `cells`, the costliest group first so that no worker ends long after others.

    Args:
        cells: of one study.
        share: False gives each cell a fit of its own.
    """
    groups: dict[str, list[Spec]] = {}
    for cell in cells:
        groups.setdefault(cell.fit_group if share else cell.fingerprint, []).append(cell)
    found = [
        FitGroup(key, tuple(sorted(group, key=lambda cell: cell.fit_order)))
        for key, group in groups.items()
    ]
    return sorted(found, key=lambda group: -group.cost)
