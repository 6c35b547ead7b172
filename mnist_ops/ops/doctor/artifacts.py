"""Check the artifacts on this machine: each must belong to a run."""

from pathlib import Path

from mnist_ops.ops.doctor.changes import Move, Repoint
from mnist_ops.ops.doctor.context import Context
from mnist_ops.ops.doctor.fixes import Fixes
from mnist_ops.ops.doctor.issue import Examination, Issue, counted, not_checked, note
from mnist_ops.tracking.database import sqlite_path
from mnist_ops.tracking.moved_artifacts import Moved, moved
from mnist_ops.tracking.orphaned_artifacts import SET_ASIDE, artifact_roots, orphaned_artifacts

_SUBJECT = "artifacts"


def check_artifacts(context: Context) -> Examination:
    """Check for moved artifacts, and for folders of artifacts without a run."""
    if context.client is None:
        return not_checked(_SUBJECT)
    store = sqlite_path(context.uri)
    if store and (elsewhere := moved(store)):
        return Examination(_SUBJECT, "", (_moved(store, elsewhere),))
    roots = artifact_roots(context.client, store)
    if not roots:
        return Examination(_SUBJECT, "none on this machine")
    shown = ", ".join(map(str, roots))
    orphans = orphaned_artifacts(context.client, store)
    if not orphans:
        return Examination(_SUBJECT, f"{shown}: each belongs to a run")

    # Elsewhere, or behind a server, other programs may use the folder.
    beside = store is not None and all(root.parent == store.parent for root in roots)
    forced = (
        f"`mnist-ops doctor --fix --force` moves them into {SET_ASIDE} there; nothing is deleted"
    )

    def fix(fixes: Fixes) -> str:
        for folder in orphans:
            aside = folder.parent.parent / SET_ASIDE / folder.parent.name / folder.name
            fixes.make(Move(str(folder), str(aside)))
        return f"{counted(len(orphans), 'folder')} moved into {SET_ASIDE} in {shown}"

    return Examination(
        _SUBJECT,
        "",
        (
            note(
                "orphaned-artifacts",
                f"{counted(len(orphans), 'folder')} of artifacts in {shown} without a run here",
                "harmless; another store may have their runs. If none has, "
                + (forced if beside else "move them away"),
                tuple(f"{folder.parent.name}/{folder.name}" for folder in orphans),
                fix=fix if context.force and beside else None,
            ),
        ),
    )


def _moved(store: Path, elsewhere: list[Moved]) -> Issue:
    def fix(fixes: Fixes) -> str:
        for each in elsewhere:
            fixes.make(Repoint(str(store), each.before, each.after))
        return f"{counted(len(elsewhere), 'experiment')} corrected"

    return Issue(
        "artifacts-moved",
        f"the store {store} was moved or copied: the artifacts of "
        f"{counted(len(elsewhere), 'experiment')} are beside it, but recorded in "
        f"{elsewhere[0].folder.parent}",
        "--fix corrects their locations; so does the next command that writes",
        tuple(each.before for each in elsewhere),
        fix=fix,
    )
