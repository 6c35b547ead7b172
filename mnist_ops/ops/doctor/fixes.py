"""The record of what ``--fix`` changed on this machine's stores, and the way back.

Every change is written to a file of the state folder before it is made. So one that was interrupted
is known as well, and each can be taken back.
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
    """Everything that one ``--fix`` changes.

    Attributes:
        id: names it in the record, and in the names of what it moves.
        changes: how many changes were recorded.
    """

    def __init__(self, context: Context):
        """Fixes of `context`; the record is opened at the first change."""
        self.id = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:4]}"
        self.changes = 0
        self._site = context
        self._locked = ExitStack()
        self._begun = False

    def make(self, change: Change) -> None:
        """Record `change`, and make it.

        Raises:
            MnistOpsError: it cannot be recorded, for example since another fix is at work; nothing
                is changed then.
        """
        self._begin()
        _append("change", fix=self.id, type=type(change).__name__, fields=asdict(change))
        self.changes += 1
        with tracking.tracking_errors(self._site.uri):
            change.do(self._site.client)

    def note(self, did: str) -> None:
        """Record in a line what was done of a finding, once anything of it is recorded."""
        if self._begun:
            _append("did", fix=self.id, text=did)

    def aside(self, path: Path) -> Path:
        """Return where to move `path`, which is below this machine's folder of the store."""
        folder = self._site.state_dir
        assert folder is not None
        within = path.relative_to(folder)
        return folder / "set-aside" / within.with_name(f"{within.name}-{self.id}")

    def close(self) -> None:
        """Let another process fix or undo."""
        self._locked.close()
        self._begun = False

    def _begin(self) -> None:
        if not self._begun:
            self._locked.enter_context(exclusive_fix())
            _append(
                "fix",
                fix=self.id,
                uri=tracking.without_password(self._site.uri),
                store=self._site.store,
                time=datetime.now(UTC).isoformat(timespec="seconds"),
            )
            self._begun = True


@dataclass(frozen=True)
class Undone:
    """The outcome of undoing a fix.

    Attributes:
        fix: its id.
        time: when it was made, ISO 8601 in UTC.
        taken_back: a line a change.
        left: the reasons why other changes were left.
        did: what the fix said that it did.
    """

    fix: str
    time: str
    taken_back: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    did: list[str] = field(default_factory=list)


def undo_last(context: Context) -> Undone | None:
    """Take back the last fix of the store of `context` that was not; None where there is none.

    What was interrupted here goes on when it is called again.

    Raises:
        MnistOpsError: something cannot be taken back now, for example as the store is away.
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
                raise MnistOpsError(f"{change} cannot be taken back: {error.strerror}") from None
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
            "another `mnist-ops doctor` fixes or undoes: wait until it has ended"
        ) from None


def _read() -> list[dict[str, Any]]:
    """The entries of the record; a line that was torn, or is none of ours, is left out."""
    path = paths.state_dir() / RECORD
    entries = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        with contextlib.suppress(ValueError, RecursionError):
            entry = json.loads(line)
            if _is_entry(entry):
                entries.append(entry)
    return entries


def _is_entry(entry: Any) -> bool:
    """Return whether a line that was read has the form of a line of the record."""
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
        # Begun on a line of its own: the one before may be torn.
        file.write(b"\n" + json.dumps({"kind": kind, **fields}).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
