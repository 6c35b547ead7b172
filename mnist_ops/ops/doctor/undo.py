"""Undo the last fix of a store."""

from dataclasses import dataclass, field
from typing import Any

from mnist_ops import tracking
from mnist_ops.core import paths
from mnist_ops.core.errors import MnistOpsError
from mnist_ops.ops.doctor import fix_record
from mnist_ops.ops.doctor.changes import KINDS
from mnist_ops.ops.doctor.context import Context
from mnist_ops.ops.doctor.store import check_store

UNDO = "mnist-ops doctor --undo"


@dataclass(frozen=True)
class Undone:
    """The outcome of undoing a fix.

    Attributes:
        fix: id of the fix.
        time: time of the fix, ISO 8601 in UTC.
        taken_back: changes that were undone, a line each.
        left: reasons why other changes were not undone.
        did: what the fix did, a line each.
    """

    fix: str
    time: str
    taken_back: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    did: list[str] = field(default_factory=list)


def undo_last(context: Context) -> Undone | None:
    """Undo the last fix of the store of `context` that was not undone; None without one.

    An interrupted undo continues with the next call.

    Raises:
        MnistOpsError: a change cannot be undone now, for example as the store does not answer.
    """
    if not (paths.state_dir() / fix_record.RECORD).exists():
        return None
    seen = check_store(context)
    with fix_record.exclusive_fix():
        record = fix_record.read()
        begun = _last(record, context)
        if begun is None:
            return None
        of_fix = [entry for entry in record if entry["fix"] == begun["fix"]]
        did = [entry["text"] for entry in of_fix if entry["kind"] == "did"]
        undone = Undone(begun["fix"], begun["time"], did=did)
        changes = [KINDS[e["type"]](**e["fields"]) for e in of_fix if e["kind"] == "change"]
        for change in reversed(changes):
            try:
                with tracking.tracking_errors(context.uri):
                    why = change.undo(context.client)
            except OSError as error:
                raise MnistOpsError(f"{change} cannot be undone: {error.strerror}") from None
            except MnistOpsError:
                if context.client is None and seen.issues:
                    raise MnistOpsError(seen.issues[0].what) from None
                raise
            (undone.left if why else undone.taken_back).append(why or str(change))
        fix_record.append("undone", fix=undone.fix)
        return undone


def _last(record: list[dict[str, Any]], context: Context) -> dict[str, Any] | None:
    undone = {entry["fix"] for entry in record if entry["kind"] == "undone"}
    uri = tracking.without_password(context.uri)
    for entry in reversed(record):
        ours = entry.get("uri") == uri or (context.store and entry.get("store") == context.store)
        if entry["kind"] == "fix" and entry["fix"] not in undone and ours:
            return entry
    return None
