"""Report how a study ended: every cell is in exactly one group."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mnist_ops.runner.plan import Plan
from mnist_ops.runner.task import Outcome
from mnist_ops.study.specs import Spec


@dataclass(frozen=True)
class StudyReport:
    """The result of a study, cell by cell.

    Attributes:
        study: its name.
        skipped: cells that were finished before.
        failed_before: cells that failed before and are not tried again -> the reason.
        not_measured: cells that no device at hand can compute -> the reason.
        finished: cells that finished now, here or in another process.
        failed: cells that failed now.
        stopped: cells that were interrupted; the same command resumes them.
        pending: number of runs that the store does not have yet.
        run_id: id of the topmost run of the command, under which the runs of its cells are.
    """

    study: str
    skipped: tuple[Spec, ...]
    failed_before: Mapping[Spec, str]
    not_measured: Mapping[Spec, str]
    finished: tuple[Outcome, ...] = ()
    failed: tuple[Outcome, ...] = ()
    stopped: tuple[Outcome, ...] = ()
    pending: int = 0
    run_id: str = ""

    def with_outcomes(self, outcomes: Sequence[Outcome]) -> "StudyReport":
        """Return the report with the cells that were computed now."""

        def of(state: str) -> tuple[Outcome, ...]:
            return tuple(outcome for outcome in outcomes if outcome.state == state)

        return replace(self, finished=of("finished"), failed=of("failed"), stopped=of("stopped"))

    @property
    def problems(self) -> list[Outcome]:
        """The cells that did not finish, except those that the user stopped."""
        return [outcome for outcome in (*self.failed, *self.stopped) if outcome.error]

    @property
    def succeeded(self) -> bool:
        """Return whether every cell that could be computed has a result."""
        return not self.problems and not self.failed_before


def grid_note(a_plan: Plan, report: StudyReport) -> str:
    """Return the description of the grid's run, as Markdown."""
    lines = [f"**{a_plan.study.title}**: {a_plan.study.question}", ""]
    computed = len(report.finished)
    lines += [
        f"- {computed} cell{'' if computed == 1 else 's'} computed, "
        f"{len(report.skipped)} finished before, "
        f"{len(report.failed)} failed, {len(report.stopped)} stopped, "
        f"{len(report.failed_before)} failed before"
    ]
    reasons = Counter(report.not_measured.values())
    lines += [f"- {count} cells {why}" for why, count in reasons.items()]
    lines += [f"- FAILED {o.spec.name}: {o.error}" for o in report.failed]
    lines += [f"- FAILED before {cell.name}: {why}" for cell, why in report.failed_before.items()]
    return "\n".join(lines)
