"""Issues that checks find, and the results of checks."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from mnist_ops.ops.doctor.fixes import Fixes


class Severity(StrEnum):
    """Severity of an issue."""

    # Worth knowing; nothing is wrong.
    NOTE = "note"
    PROBLEM = "problem"


Fix = Callable[[Fixes], str]


@dataclass(frozen=True)
class Issue:
    """A problem or note, with all its occurrences.

    Attributes:
        kind: stable code of the issue, for programs.
        what: description in one line.
        cure: what to do, or what ``--fix`` does, in one line.
        items: the runs, cells, files or packages that it concerns.
        severity: of the issue.
        fix: makes its changes through the given `Fixes`, and returns in one line what it did;
            raises `MnistOpsError` or `OSError` if it fails. None without a fix.
    """

    kind: str
    what: str
    cure: str
    items: tuple[str, ...] = ()
    severity: Severity = Severity.PROBLEM
    fix: Fix | None = None


@dataclass(frozen=True)
class Examination:
    """Result of one check.

    Attributes:
        subject: of the check.
        ok: text for a result without issues.
        issues: the issues.
        looked: whether the check could run.
    """

    subject: str
    ok: str
    issues: tuple[Issue, ...] = ()
    looked: bool = True


def note(
    kind: str, what: str, cure: str, items: tuple[str, ...] = (), *, fix: Fix | None = None
) -> Issue:
    """Return an issue that is not a problem."""
    return Issue(kind, what, cure, items, Severity.NOTE, fix)


def not_checked(subject: str) -> Examination:
    """Return the result of a check that needs a store, without one."""
    return Examination(subject, "not checked without a store", looked=False)


def counted(number: int, noun: str) -> str:
    """Format a number of things, for example ``1 run``, ``2,000 runs``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def size(number: float) -> str:
    """Format a number of bytes, for example ``1.5 GiB``."""
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"
