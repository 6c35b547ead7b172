"""Record the changes of ``--fix``, and undo them.

Every change is written to a file of the state folder before it is made, so interrupted changes can
be undone as well.
"""

import contextlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mnist_ops import tracking
from mnist_ops.core import atomic_files, paths
from mnist_ops.core.errors import MnistOpsError
from mnist_ops.ops.doctor.changes import KINDS, Change
from mnist_ops.ops.doctor.context import Context
from mnist_ops.ops.doctor.store import look_at_store

RECORD = "fixes.jsonl"
UNDO = "mnist-ops doctor --undo"


class Fixes:
    """The changes of one ``--fix``.

    Attributes:
        id: its id in the record, and in the names of moved files.
        changes: number of recorded changes.
    """

    def __init__(self, context: Context):
        """Start fixes of `context`; nothing is recorded before the first change."""
        self.id = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:4]}"
        self.changes = 0
        self._context = context
        self._locked = ExitStack()
        self._begun = False

    def make(self, change: Change) -> None:
        """Record `change`, and make it.

        Raises:
            MnistOpsError: it cannot be recorded, for example because another process is fixing;
                nothing was changed.
        """
        self._begin()
        _append("change", fix=self.id, type=type(change).__name__, fields=asdict(change))
        self.changes += 1
        with tracking.tracking_errors(self._context.uri):
            change.do(self._context.client)

    def note(self, did: str) -> None:
        """Record in a line what a fix did, if it has recorded a change."""
        if self._begun:
            _append("did", fix=self.id, text=did)

    def aside(self, path: Path) -> Path:
        """Return where to move `path`, which is below the state folder of the store."""
        folder = self._context.state_dir
        assert folder is not None
        within = path.relative_to(folder)
        return folder / "set-aside" / within.with_name(f"{within.name}-{self.id}")

    def close(self) -> None:
        """Allow other processes to fix or undo."""
        self._locked.close()
        self._begun = False

    def _begin(self) -> None:
        if not self._begun:
            self._locked.enter_context(exclusive_fix())
            _append(
                "fix",
                fix=self.id,
                uri=tracking.without_password(self._context.uri),
                store=self._context.store,
                time=datetime.now(UTC).isoformat(timespec="seconds"),
            )
            self._begun = True


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
    if not (paths.state_dir() / RECORD).exists():
        return None
    seen = look_at_store(context)
    with exclusive_fix():
        record = _read()
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
        _append("undone", fix=undone.fix)
        return undone


def _last(record: list[dict[str, Any]], context: Context) -> dict[str, Any] | None:
    undone = {entry["fix"] for entry in record if entry["kind"] == "undone"}
    uri = tracking.without_password(context.uri)
    for entry in reversed(record):
        ours = entry.get("uri") == uri or (context.store and entry.get("store") == context.store)
        if entry["kind"] == "fix" and entry["fix"] not in undone and ours:
            return entry
    return None


@contextlib.contextmanager
def exclusive_fix() -> Iterator[None]:
    """Keep other processes of this machine from fixing and undoing."""
    path = paths.state_dir() / f"{RECORD}.lock"
    atomic_files.private_folder(path.parent)
    try:
        with FileLock(path, timeout=0):
            yield
    except Timeout:
        raise MnistOpsError(
            "another `mnist-ops doctor` is fixing or undoing: wait until it has ended"
        ) from None


def _read() -> list[dict[str, Any]]:
    """Return the entries of the record; incomplete and invalid lines are left out."""
    path = paths.state_dir() / RECORD
    entries = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        with contextlib.suppress(ValueError, RecursionError):
            entry = json.loads(line)
            if _is_entry(entry):
                entries.append(entry)
    return entries


def _is_entry(entry: Any) -> bool:
    """Return whether `entry` has the form of an entry of the record."""
    texts = {"fix": ("time",), "did": ("text",), "change": ("type",), "undone": ()}
    if not isinstance(entry, dict) or entry.get("kind") not in tuple(texts):
        return False
    if not all(isinstance(entry.get(name), str) for name in ("fix", *texts[entry["kind"]])):
        return False
    if entry["kind"] != "change":
        return True
    kind, values = KINDS.get(entry["type"]), entry.get("fields")
    return (
        kind is not None
        and isinstance(values, dict)
        and values.keys() == {field.name for field in fields(kind)}
        and all(value is None or isinstance(value, str | int) for value in values.values())
    )


def _append(kind: str, **fields: Any) -> None:
    path = paths.state_dir() / RECORD
    with atomic_files.write_errors(path):
        path.touch(0o600)
    with atomic_files.write_errors(path), path.open("ab") as file:
        # On a new line, as the last one may be incomplete.
        file.write(b"\n" + json.dumps({"kind": kind, **fields}).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
