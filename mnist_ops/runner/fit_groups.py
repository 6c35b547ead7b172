"""Group cells that can share one fit.

With a constant learning rate, a training of 2 epochs equals the first 2 epochs of a training of 5,
bit for bit; and without an accelerator, pinned memory changes nothing. Cells that differ in nothing
else share one training: it runs to the largest number of epochs, and each cell takes its result
at its own.

Support vector machines that differ only in C, or in the rule for gamma, share their inner products
and most kernel values: they are fitted together, each with a solution of its own.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from mnist_ops.study.specs import Spec


@dataclass(frozen=True)
class FitGroup:
    """Cells that share one fit.

    Attributes:
        key: name of the group, the same in every grid.
        cells: first the cell that is fitted, then those that take their results from its fit.
    """

    key: str
    cells: tuple[Spec, ...]

    @property
    def fitted(self) -> Spec:
        """The cell whose fit is computed, and whose time is measured."""
        return self.cells[0]

    @property
    def cost(self) -> float:
        """Cost of the fit, in relative units."""
        # Imported here, since it takes seconds that grouping alone does not need.
        from mnist_ops.fitting import methods

        return methods.cost(self.fitted)


def grouped(cells: Iterable[Spec], *, share: bool) -> list[FitGroup]:
    """Group `cells`, the most expensive group first, so that all workers end at about one time.

    Args:
        cells: of one study.
        share: whether cells share fits; otherwise each has one of its own.
    """
    groups: dict[str, list[Spec]] = {}
    for cell in cells:
        groups.setdefault(cell.fit_group if share else cell.fingerprint, []).append(cell)
    found = [
        FitGroup(key, tuple(sorted(group, key=lambda cell: cell.fit_order)))
        for key, group in groups.items()
    ]
    return sorted(found, key=lambda group: -group.cost)
