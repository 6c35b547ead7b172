"""Check this machine's journals and checkpoints of other stores."""

from dataclasses import dataclass
from pathlib import Path

from mnist_ops import tracking
from mnist_ops.core import paths
from mnist_ops.core.errors import TrackingUnavailable
from mnist_ops.ops.doctor.changes import Move
from mnist_ops.ops.doctor.context import Context
from mnist_ops.ops.doctor.fixes import Fixes
from mnist_ops.ops.doctor.issue import Examination, Issue, counted, note
from mnist_ops.tracking import claims
from mnist_ops.tracking.database import sqlite_path
from mnist_ops.tracking.leftover_journals import LeftoverJournal, leftover_journals
from mnist_ops.tracking.schema import Schema, schema_of

_SUBJECT = "other stores"
# Beside the folders of stores.
SET_ASIDE = "of-stores-that-are-gone"


@dataclass(frozen=True)
class _Kept:
    """Journals and checkpoints of a store."""

    folder: Path
    uri: str | None
    journals: list[LeftoverJournal]

    @property
    def waiting(self) -> int:
        return sum(not (found.is_synced or found.is_damaged) for found in self.journals)


def check_other_stores(context: Context) -> Examination:
    """Check the state folders of other stores than that of `context`."""
    others = [kept for kept in _kept() if kept.folder.name != context.store]
    issues = []
    for kept in others:
        if any(found.in_use for found in kept.journals):
            continue
        if kept.uri is not None and _is_gone(kept.uri, kept.folder.name):
            issues.append(_gone(kept, kept.uri))
        elif kept.waiting:
            issues.append(_elsewhere(kept))
    return Examination(_SUBJECT, "nothing left of other stores", tuple(issues))


def _kept() -> list[_Kept]:
    root = paths.state_dir()
    folders = sorted(root.iterdir()) if root.is_dir() else []
    return [
        _Kept(folder, paths.address_of(folder.name), list(leftover_journals(folder / "journals")))
        for folder in folders
        if folder.name != SET_ASIDE
        and (any(folder.glob("journals/*")) or any(folder.glob("checkpoints/*")))
    ]


def _is_gone(uri: str, store: str) -> bool:
    """Return whether a store on this machine was deleted, or replaced by another."""
    path = sqlite_path(uri)
    if path is None:
        return False
    if not path.exists():
        # Without a mounted disk, the folder is missing or empty.
        return path.parent.is_dir() and any(path.parent.iterdir())
    try:
        if schema_of(uri) is not Schema.CURRENT:
            return False
        with tracking.tracking_errors(uri):
            return claims.find(tracking.connect(uri, create=False), create=False) != store
    except TrackingUnavailable:
        return False


def _gone(kept: _Kept, uri: str) -> Issue:
    target = kept.folder.parent / SET_ASIDE / kept.folder.name

    def fix(fixes: Fixes) -> str:
        free = target if not target.exists() else target.with_name(f"{target.name}-{fixes.id}")
        fixes.make(Move(str(kept.folder), str(free)))
        return f"moved to {free}"

    held = counted(len(kept.journals), "journal")
    return Issue(
        "store-gone",
        f"{held} and checkpoints of the store {tracking.without_password(uri)}, which is gone",
        f"restore the store, or --fix moves them to {target.parent}",
        tuple(found.name for found in kept.journals),
        fix=fix,
    )


def _elsewhere(kept: _Kept) -> Issue:
    if kept.uri is None:
        return note(
            "store-unknown",
            f"{counted(kept.waiting, 'run')} of a store whose address was not recorded",
            f"start a grid on that store, or delete {kept.folder}",
        )
    shown = tracking.without_password(kept.uri)
    return note(
        "undelivered-elsewhere",
        f"{counted(kept.waiting, 'run')} not completely uploaded to the store {shown}",
        f"`MLFLOW_TRACKING_URI={shown} mnist-ops sync` uploads them",
    )
