"""Issues that checks find, and the results of checks."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnist_ops.ops.doctor.fixes import Fixes


class Severity(StrEnum):
    """Severity of an issue."""

    # Worth knowing; nothing is wrong.
    NOTE = "note"
    PROBLEM = "problem"


Fix = Callable[["Fixes"], str]


@dataclass(frozen=True)
class Issue:
    """A kind of defect, however often it occurs.

    Attributes:
        kind: stable code of the issue, for programs.
        what: one line, what is wrong.
        cure: one line, what to do, or what ``--fix`` does.
        items: the runs, cells, files or packages it is about.
        severity: how bad it is.
        fix: the fix, which makes its changes by what it is given and returns in one line what it
            did; None where ``--fix`` has none. Raises `MnistOpsError` or `OSError` where it fails.
    """

    kind: str
    what: str
    cure: str
    items: tuple[str, ...] = ()
    severity: Severity = Severity.PROBLEM
    fix: "Fix | None" = None


@dataclass(frozen=True)
class Examination:
    """Result of one check.

    Attributes:
        subject: what was checked.
        ok: a few words for where there is no issue.
        issues: what was found.
        looked: whether it could be checked.
    """

    subject: str
    ok: str
    issues: tuple[Issue, ...] = ()
    looked: bool = True


def note(
    kind: str, what: str, cure: str, items: tuple[str, ...] = (), *, fix: "Fix | None" = None
) -> Issue:
    """Return an issue that is no problem."""
    return Issue(kind, what, cure, items, Severity.NOTE, fix)


def not_looked_at(subject: str) -> Examination:
    """Return the result of a check that needs a store where there is none."""
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
