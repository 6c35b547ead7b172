"""Check everything that a grid depends on, and fix problems.

A check examines one subject and changes nothing. An issue describes the problem in a line, the cure
in another, and has a fix if there is one. Only certain problems are fixed: something that is not
found may still exist elsewhere. Fixes can be undone.
"""

from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass, field

from mnist_ops.core.errors import MnistOpsError
from mnist_ops.ops.doctor.artifacts import check_artifacts
from mnist_ops.ops.doctor.checkpoints import check_checkpoints
from mnist_ops.ops.doctor.context import Context
from mnist_ops.ops.doctor.datasets import check_datasets
from mnist_ops.ops.doctor.deleted import check_deleted
from mnist_ops.ops.doctor.disk import check_disk
from mnist_ops.ops.doctor.environment import check_environment
from mnist_ops.ops.doctor.fixes import Fixes
from mnist_ops.ops.doctor.issue import Examination, Issue, Severity
from mnist_ops.ops.doctor.journals import check_journals
from mnist_ops.ops.doctor.kernels import check_kernels
from mnist_ops.ops.doctor.other_stores import check_other_stores
from mnist_ops.ops.doctor.runs import check_claims, check_finished_runs, check_open_runs
from mnist_ops.ops.doctor.store import check_store
from mnist_ops.ops.doctor.undo import UNDO, undo_last
from mnist_ops.tracking import tracking_errors

__all__ = [
    "UNDO",
    "Context",
    "Diagnosis",
    "Examination",
    "Fixes",
    "Issue",
    "Severity",
    "diagnose",
    "undo_last",
]

Check = Callable[[Context], Examination]

# The store before what needs it, and journals before runs, since uploads end some runs.
CHECKS: tuple[Check, ...] = (
    check_environment,
    check_disk,
    check_datasets,
    check_kernels,
    check_store,
    check_deleted,
    check_journals,
    check_checkpoints,
    check_other_stores,
    check_open_runs,
    check_finished_runs,
    check_claims,
    check_artifacts,
)


@dataclass(frozen=True)
class Fixed:
    """An issue that was fixed.

    Attributes:
        issue: the issue before the fix.
        did: what the fix did, in one line.
    """

    issue: Issue
    did: str


@dataclass(frozen=True)
class Diagnosis:
    """Result of one check and its fixes.

    Attributes:
        seen: result of the check, after the fixes.
        fixed: issues that were fixed.
        failed: issue that could not be fixed -> reason.
    """

    seen: Examination
    fixed: tuple[Fixed, ...] = ()
    failed: dict[Issue, str] = field(default_factory=dict)

    @property
    def is_ok(self) -> bool:
        """Return whether there is no problem; notes do not count."""
        return not any(f.severity is Severity.PROBLEM for f in self.seen.issues)


def diagnose(context: Context, fixes: Fixes | None = None) -> Iterator[Diagnosis]:
    """Run all checks, one after the other.

    Args:
        context: of the checks.
        fixes: makes and records changes; after its fixes a check runs again. With None nothing is
            changed.
    """
    with closing(fixes) if fixes else nullcontext():
        for check in CHECKS:
            seen = _run(check, context)
            if fixes is None or not any(issue.fix for issue in seen.issues):
                yield Diagnosis(seen)
            else:
                yield _fix(check, context, seen, fixes)


def _fix(check: Check, context: Context, seen: Examination, fixes: Fixes) -> Diagnosis:
    fixed, failed = [], {}
    for issue in seen.issues:
        if issue.fix is None:
            continue
        try:
            fixed.append(Fixed(issue, issue.fix(fixes)))
            fixes.note(f"{issue.what}: {fixed[-1].did}")
        except (MnistOpsError, OSError) as error:
            failed[issue.kind] = str(error)
    seen = _run(check, context)
    why = {f: failed[f.kind] for f in seen.issues if f.kind in failed}
    return Diagnosis(seen, tuple(fixed), why)


def _run(check: Check, context: Context) -> Examination:
    try:
        with tracking_errors(context.uri):
            return check(context)
    except (MnistOpsError, OSError) as error:
        # An error in one check does not keep the others from running.
        subject = check.__name__.removeprefix("check_").replace("_", " ")
        issue = Issue("not-looked-at", str(error), "fix this, and run doctor again")
        return Examination(subject, "", (issue,))
