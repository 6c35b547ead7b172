"""Look at everything that a grid rests on, and mend what can be mended.

A check looks at one thing and changes nothing. What it finds says in a line what is wrong, in
another what cures it, and brings the cure along where there is one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from mnist_ops.doctor.artifacts import look_at_artifacts
from mnist_ops.doctor.checkpoints import look_at_checkpoints
from mnist_ops.doctor.datasets import look_at_datasets
from mnist_ops.doctor.disk import look_at_disk
from mnist_ops.doctor.environment import look_at_environment
from mnist_ops.doctor.finding import Examination, Finding, Severity
from mnist_ops.doctor.journals import look_at_journals
from mnist_ops.doctor.other_stores import look_at_other_stores
from mnist_ops.doctor.runs import look_at_claims, look_at_finished_runs, look_at_open_runs
from mnist_ops.doctor.site import Site
from mnist_ops.doctor.store import look_at_store
from mnist_ops.errors import MnistOpsError
from mnist_ops.tracking import tracking_errors

__all__ = ["Diagnosis", "Examination", "Finding", "Severity", "Site", "diagnose"]

Check = Callable[[Site], Examination]

# The store before what needs it, and journals before runs: what is delivered ends some of them.
CHECKS: tuple[Check, ...] = (
    look_at_environment,
    look_at_disk,
    look_at_datasets,
    look_at_store,
    look_at_journals,
    look_at_checkpoints,
    look_at_other_stores,
    look_at_open_runs,
    look_at_finished_runs,
    look_at_claims,
    look_at_artifacts,
)


@dataclass(frozen=True)
class Mended:
    """A finding that was put right.

    Attributes:
        finding: as it was.
        did: one line.
    """

    finding: Finding
    did: str


@dataclass(frozen=True)
class Diagnosis:
    """What is so of one subject, after mending where that was asked for.

    Attributes:
        seen: by the last look.
        mended: what was put right before it.
        failed: finding that could not be put right -> why.
    """

    seen: Examination
    mended: tuple[Mended, ...] = ()
    failed: dict[Finding, str] = field(default_factory=dict)

    @property
    def is_well(self) -> bool:
        """Whether nothing is wrong, notes aside."""
        return not any(f.severity is Severity.PROBLEM for f in self.seen.findings)


def diagnose(site: Site, *, fix: bool = False) -> Iterator[Diagnosis]:
    """Look at everything, one subject after the other.

    Args:
        site: where to look.
        fix: mend what can be mended, and look again; else nothing is changed.
    """
    for check in CHECKS:
        seen = _look(check, site)
        curable = [finding for finding in seen.findings if finding.mend]
        if not fix or not curable:
            yield Diagnosis(seen)
            continue
        mended, failed = [], {}
        for finding in curable:
            assert finding.mend is not None
            try:
                mended.append(Mended(finding, finding.mend()))
            except (MnistOpsError, OSError) as error:
                failed[finding.kind] = str(error)
        seen = _look(check, site)
        why = {f: failed[f.kind] for f in seen.findings if f.kind in failed}
        yield Diagnosis(seen, tuple(mended), why)


def _look(check: Check, site: Site) -> Examination:
    try:
        with tracking_errors(site.uri):
            return check(site)
    except (MnistOpsError, OSError) as error:
        # Whatever keeps one check from looking, the others look.
        subject = check.__name__.removeprefix("look_at_").replace("_", " ")
        finding = Finding("not-looked-at", str(error), "mend that, and look again")
        return Examination(subject, "", (finding,))
