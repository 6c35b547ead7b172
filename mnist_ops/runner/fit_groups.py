"""Which cells one fit serves.

With a constant learning rate a training of 2 epochs is the beginning of one of 5, bit for bit; and
without an accelerator there is no transfer that pinned memory could change. Cells that differ in
nothing else are one trajectory through weight space: it is trained once, to its longest, and gives
each cell its result on the way.

Support vector machines that differ in C, or in how gamma follows from the pixels, share their inner
products and most of their kernel values: they are fitted together, each with a solution of its own.
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

from mnist_ops.study.specs import ResNetSpec, Spec, SvmSpec


@dataclass(frozen=True)
class Trajectory:
    """Cells that one fit serves.

    Attributes:
        key: names the trajectory; the same for the same trajectory in every grid.
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
        spec = self.fitted
        if isinstance(spec, SvmSpec):
            # Of the same images a polynomial kernel leaves more support vectors than others.
            return 2.0 if spec.kernel == "poly" else 1.0
        assert isinstance(spec, ResNetSpec)
        # It takes seconds, for which those that only group cells need not wait.
        from mnist_ops.fitting.resnet import models

        # A step has a part that does not shrink with its batch.
        per_image = models.complexity(spec.model).flops * (1 + 8 / spec.batch_size)
        return per_image * spec.epochs


def trajectories(cells: Iterable[Spec], *, share: bool) -> list[Trajectory]:
    """Group `cells` by trajectory, the costliest first so that no worker ends long after others.

    Args:
        cells: of one study.
        share: False gives each cell a fit of its own.
    """
    groups: dict[str, list[Spec]] = {}
    for cell in cells:
        groups.setdefault(_key(cell) if share else cell.fingerprint, []).append(cell)
    found = [Trajectory(key, tuple(sorted(group, key=_order))) for key, group in groups.items()]
    return sorted(found, key=lambda trajectory: -trajectory.cost)


def _key(cell: Spec) -> str:
    if isinstance(cell, SvmSpec):
        gamma = "scale" if isinstance(cell.gamma, str) else cell.gamma
        return dataclasses.replace(cell, C=1.0, gamma=gamma).fingerprint
    assert isinstance(cell, ResNetSpec)
    pin_memory = cell.pin_memory and cell.device != "cpu"
    return dataclasses.replace(cell, epochs=1, pin_memory=pin_memory).fingerprint


def _order(cell: Spec) -> tuple[int, bool]:
    """Longest first; of equals the one without pinned memory."""
    return (-cell.epochs, cell.pin_memory) if isinstance(cell, ResNetSpec) else (0, False)
