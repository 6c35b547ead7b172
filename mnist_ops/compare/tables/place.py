"""Where the tables keep the measured value of a published number."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mnist_ops.compare.tables.measure import VARIANT
from mnist_ops.compare.tables.table import Table, Value

if TYPE_CHECKING:
    from mnist_ops.compare.findings.evidence import Evidence
    from mnist_ops.compare.over_seeds import Difference


@dataclass(frozen=True)
class Place:
    """The row and the columns of a published number's measured value.

    Attributes:
        row: column -> value, of the row, or whether a value is that of the row.
        name: of the quantity: its columns are ``<name>_measured``, ``_std`` and ``_n``.
        study: whose cells were measured.
        on_test: what replaces columns of `row` where the paper's own choice, the best on test,
            has a row of its own.
        other_work: why a time is of other work than the paper's, whatever the hardware; empty where
            it is not.
        compare: for a number that is the difference of two configurations, their comparison.
    """

    row: Mapping[str, Any]
    name: str
    study: str
    on_test: Mapping[str, Any] = field(default_factory=dict)
    other_work: str = ""
    compare: "Callable[[Evidence], Difference | None] | None" = None

    @property
    def is_of_the_best(self) -> bool:
        """Whether it is of the best of several: another configuration here than there, maybe."""
        return bool(self.on_test) or self.compare is not None

    def find(self, table: Table, **others: Any) -> dict[str, Value]:
        """Return the row's values by what they are: ``measured``, ``std``, ``n`` and others.

        `others` replaces columns of `row`; empty where there is no such row.
        """
        for row in table.frame.to_dict("records"):
            if self.holds(row, **others):
                prefix = f"{self.name}_"
                return {
                    str(name).removeprefix(prefix): value
                    for name, value in row.items()
                    if str(name).startswith(prefix)
                }
        return {}

    def holds(self, row: Mapping[Any, Any], **others: Any) -> bool:
        """Return whether `row` is the row of the value, where `others` replaces columns of it."""
        wanted = {VARIANT: ""} | dict(self.row) | others
        return all(_fits(row.get(name, value), value) for name, value in wanted.items())


def _fits(value: Any, wanted: Any) -> bool:
    return bool(wanted(value) if callable(wanted) else value is wanted or value == wanted)
