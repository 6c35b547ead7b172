"""What a check finds, and what it says where it finds nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnist_ops.ops.doctor.fixes import Fixes


class Severity(StrEnum):
    """How bad it is."""

    # Worth knowing; nothing is wrong.
    NOTE = "note"
    PROBLEM = "problem"


Fix = Callable[["Fixes"], str]


@dataclass(frozen=True)
class Issue:
    """One thing that is not as it should be, however often it occurs.

    Attributes:
        kind: names the sort of finding for a program, always the same.
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
    """What one check saw.

    Attributes:
        subject: what was looked at.
        ok: in a few words what is well, for where there is no finding.
        issues: what is not.
        looked: whether it could be looked at.
    """

    subject: str
    ok: str
    issues: tuple[Issue, ...] = ()
    looked: bool = True


def note(
    kind: str, what: str, cure: str, items: tuple[str, ...] = (), *, fix: "Fix | None" = None
) -> Issue:
    """A finding that is no problem."""
    return Issue(kind, what, cure, items, Severity.NOTE, fix)


def not_looked_at(subject: str) -> Examination:
    """What there is to say where the store cannot be read."""
    return Examination(subject, "not looked at without a store", looked=False)


def counted(number: int, noun: str) -> str:
    """For example ``1 run``, ``2,000 runs``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def size(number: float) -> str:
    """Bytes for people, for example ``1.5 GiB``."""
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"
