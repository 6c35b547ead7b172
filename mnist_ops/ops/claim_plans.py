"""What would decide claims, and what became of them, as values."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from mnist_ops.compare.findings.finding import Finding
from mnist_ops.compare.findings.need import MoreSeeds
from mnist_ops.compare.findings.sequential import Look
from mnist_ops.runner.study_report import StudyReport
from mnist_ops.study.specs import Spec


@dataclass(frozen=True)
class Added:
    """Seeds of one configuration that a plan adds.

    Attributes:
        more: the configuration.
        have: its seeds that are finished.
        cells: of each round that is left, one cell a seed.
    """

    more: MoreSeeds
    have: tuple[int, ...]
    cells: tuple[tuple[Spec, ...], ...]


@dataclass(frozen=True)
class ClaimPlan:
    """What would decide one claim.

    Attributes:
        finding: the claim and its verdict now.
        look: the one after the first round that is left.
        added: the configurations that get seeds.
        is_sure: whether the chance of 80% is one after all corrections, and not before them.
        obstacle: why none are run; empty where they are.
    """

    finding: Finding
    look: Look
    added: tuple[Added, ...] = ()
    is_sure: bool = True
    obstacle: str = ""

    def cells(self, round_: int | None = None) -> dict[Spec, float]:
        """Return the cells of a round, or of all that are left, each with its seconds."""
        found: dict[Spec, float] = {}
        for each in self.added:
            for number, cells in enumerate(each.cells, self.look.round):
                if round_ in (None, number):
                    found |= dict.fromkeys(cells, each.more.seconds or 0.0)
        return found

    @property
    def last(self) -> bool:
        """Return whether no round is left after the next one."""
        return self.look.round == self.look.rounds


@dataclass(frozen=True)
class Plan:
    """The plans of several claims, whose runs are run together.

    Attributes:
        preset: the size of the cells.
        claims: in the order of the paper.
        workers: how many runs go on at a time.
        hours: what may be spent; None is no limit.
    """

    preset: str
    claims: tuple[ClaimPlan, ...]
    workers: int
    hours: float | None

    @property
    def active(self) -> list[ClaimPlan]:
        """Return the plans that are carried out."""
        return [each for each in self.claims if not each.obstacle]

    @cached_property
    def cells(self) -> dict[Spec, float]:
        """Return the cells that would be run, each with its seconds."""
        return union(each.cells() for each in self.active)

    def fits(self, cells: Mapping[Spec, float]) -> bool:
        """Return whether these cells take no longer than may be spent."""
        return self.hours is None or self.seconds(cells) <= self.hours * 3600

    def seconds(self, cells: Mapping[Spec, float]) -> float:
        """Return about how long these cells take here."""
        return sum(cells.values()) / self.workers


@dataclass(frozen=True)
class Ended:
    """What became of a claim.

    Attributes:
        finding: its verdict in the end.
        how: why it ended.
    """

    finding: Finding
    how: str


@dataclass
class Result:
    """The end of a plan.

    Attributes:
        ended: every claim that was asked for.
        reports: of the studies that were run.
        spent_s: seconds.
    """

    ended: list[Ended] = field(default_factory=list)
    reports: list[StudyReport] = field(default_factory=list)
    spent_s: float = 0.0


def within_budget(
    plan: Plan, cells_of: Callable[[ClaimPlan], dict[Spec, float]] = ClaimPlan.cells
) -> Plan:
    """Leave out the claims that do not fit into the budget, those that take longest first."""
    if plan.hours is None:
        return plan
    chosen: dict[Spec, float] = {}
    obstacles: dict[str, str] = {}
    for each in sorted(plan.active, key=lambda claim: plan.seconds(cells_of(claim))):
        together = chosen | cells_of(each)
        if plan.fits(together):
            chosen = together
        else:
            hours = plan.seconds(each.cells()) / 3600
            obstacles[each.finding.id] = (
                f"it cannot be settled within {max(0.0, plan.hours):.3g} h{_beside(chosen)}: its "
                f"runs take about {hours:.2g} h here"
            )
    claims = (
        replace(each, obstacle=obstacles.get(each.finding.id, each.obstacle))
        for each in plan.claims
    )
    return replace(plan, claims=tuple(claims))


def _beside(chosen: Mapping[Spec, float]) -> str:
    return " beside the other claims" if chosen else ""


def union(cells: Iterable[Mapping[Spec, float]]) -> dict[Spec, float]:
    """Return the cells of all, each once."""
    return {cell: seconds for each in cells for cell, seconds in each.items()}
