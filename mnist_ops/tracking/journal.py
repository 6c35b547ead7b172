"""The journal of a run: an append-only file on this machine that is written before the store.

Training only appends to the journal, which takes milliseconds whatever the state of the store.
`uploader` sends the events to MLflow in order. A line is a checksum and an event as JSON. A crash
can damage the last line only, which is dropped; a journal with other damage is set aside. The
process with the lock of the folder writes and uploads the journal; the lock ends with the process.

Events, in the order in which a run can have them:

    open      experiment, name, tags, params and data set of the run, its time and hardware
    run       id of the run in the store
    metrics   values of one step, with their time
    params, tags, artifact
    resume    another process continues the run, with the tags that changed
    end       status and time; not the last event if the run is resumed later
    synced    the store has everything up to here
"""

import contextlib
import json
import os
import shutil
import threading
import time
import uuid
import zlib
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mnist_ops.core import atomic_files
from mnist_ops.core.errors import MnistOpsError
from mnist_ops.tracking.events import Event, RunEvents, are_events

FILE = "journal.jsonl"
LOCK = "lock"
# Suffix of the folder of a damaged journal.
DAMAGED = ".damaged"
# An attempt fails only if another process removes the folder at the same time.
_LOCK_TRIES = 100


class JournalBusy(MnistOpsError):
    """Another process of this machine writes the journal."""

    resumable = True


class JournalGone(MnistOpsError):
    """The journal was closed: another process has finished the cell."""

    resumable = True


class JournalDamaged(MnistOpsError):
    """A journal is damaged, or was not written by this program."""


class Journal(RunEvents):
    """The events of one run, locked by this process until `close` or `remove`.

    Attributes:
        folder: of the journal and its artifacts.
        events: all events so far.
    """

    events: list[Event]

    def __init__(self, folder: Path):
        """Open the journal in `folder`; create it if there is none.

        Raises:
            JournalBusy: another process has it open.
            JournalDamaged: it was damaged, and is now set aside.
            DiskFull: there is no room.
        """
        self.folder = folder
        self._appending = threading.Lock()
        self._lock = _lock(folder)
        path = folder / FILE
        try:
            content, self.events, intact_bytes = read(folder)
        except JournalDamaged as damage:
            self.move(folder.with_name(f"{folder.name}-{now_ms()}{DAMAGED}"))
            self._lock.release()
            raise JournalDamaged(
                f"a damaged journal was set aside ({damage}), its run is not resumed: {self.folder}"
            ) from None
        with atomic_files.write_errors(path):
            self._file = path.open("ab", buffering=0)
            self._file.truncate(intact_bytes)
        if not content:
            atomic_files.sync_folder(folder)

    def append(self, kind: str, **fields: Any) -> None:
        """Add an event, on disk when this returns.

        Raises:
            DiskFull: there is no room; the event was not added.
            JournalGone: the journal was closed or removed.
        """
        event = {"kind": kind, **fields}
        text = json.dumps(event, separators=(",", ":")).encode()
        line = memoryview(b"%08x %s\n" % (zlib.crc32(text), text))
        with self._appending:
            if self._file.closed:
                raise JournalGone("another process finished this cell")
            intact_bytes = self._file.tell()
            try:
                with atomic_files.write_errors(self.folder):
                    # A disk that is almost full accepts a part before it raises.
                    while line:
                        line = line[self._file.write(line) :]
                    os.fsync(self._file.fileno())
            except BaseException:
                self._file.truncate(intact_bytes)
                raise
            self.events.append(event)

    def add_artifact(self, name: str, content: bytes) -> None:
        """Save a file that is to be uploaded as an artifact of the run.

        Raises:
            DiskFull: there is no room.
        """
        atomic_files.replace(self.folder / name, content)
        self.append("artifact", file=name)

    @property
    def run_id(self) -> str | None:
        """Id of the run in the store; None before it has one."""
        found = [event["run_id"] for event in self.events if event["kind"] == "run"]
        return found[-1] if found else None

    @property
    def status(self) -> str:
        """``RUNNING``, or the status with which the run ended."""
        for event in reversed(self.events):
            if event["kind"] == "end":
                return str(event["status"])
            if event["kind"] == "resume":
                break
        return "RUNNING"

    @property
    def steps(self) -> set[int]:
        """The steps that have metrics."""
        return {event["step"] for event in self.events if event["kind"] == "metrics"}

    @property
    def segments(self) -> int:
        """The number of segments: 1, and 1 more for each time that the run was resumed."""
        return sum(event["kind"] in ("open", "resume") for event in self.events)

    @property
    def last_time(self) -> int:
        """Time of the last event with a time, in milliseconds since the epoch."""
        return max((event["time"] for event in self.events if "time" in event), default=now_ms())

    def close(self) -> None:
        """Close the journal, and unlock it for other processes."""
        with self._appending:
            self._file.close()
        self._lock.release()

    def remove(self) -> None:
        """Delete the journal."""
        with contextlib.suppress(OSError):
            # The events first: after an interruption, a journal without its artifacts would be
            # uploaded.
            (self.folder / FILE).unlink(missing_ok=True)
            self.move(self.folder.with_name(f"{self.folder.name}-{uuid.uuid4().hex[:8]}"))
            shutil.rmtree(self.folder)
        self.close()

    def move(self, folder: Path) -> None:
        """Rename the journal to `folder`, which must be beside its own."""
        self.folder = self.folder.rename(folder)


def _lock(folder: Path) -> FileLock:
    """Create and lock `folder`; if it is moved or removed meanwhile, try again.

    Raises:
        JournalBusy: another process has the lock.
    """
    # Not by thread: one thread opens the journal, another uploads and closes it.
    lock = FileLock(folder / LOCK, thread_local=False)
    for tries_left in reversed(range(_LOCK_TRIES)):
        try:
            with atomic_files.write_errors(folder):
                atomic_files.private_folder(folder)
                found = folder.stat()
                lock.acquire(timeout=0)
                if os.path.samestat(found, folder.stat()):
                    return lock
        except Timeout:
            break
        except (FileNotFoundError, FileExistsError):
            # Another process removed or created the folder; or a file has its name.
            if not tries_left:
                raise
        lock.release()
    raise JournalBusy(f"another process writes {folder}")


def now_ms() -> int:
    """Return the time in milliseconds since the epoch, as MLflow does."""
    return int(time.time() * 1000)


def read(folder: Path) -> tuple[bytes, list[Event], int]:
    """Return the content of the journal in `folder`, its intact events, and their size in bytes.

    Raises:
        JournalDamaged: the journal is not as this program writes it.
    """
    path = folder / FILE
    try:
        if os.path.lexists(path) and not path.is_file():
            raise JournalDamaged("it is not a file")
        content = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise JournalDamaged(f"it cannot be read: {error.strerror}") from None
    events, intact_bytes = _parse(content)
    if not are_events(events):
        raise JournalDamaged("its events are invalid")
    files = [event["file"] for event in events if event["kind"] == "artifact"]
    if missing := [name for name in files if not (folder / name).is_file()]:
        raise JournalDamaged(f"{missing[0]} is missing")
    return content, events, intact_bytes


def _parse(content: bytes) -> tuple[list[Any], int]:
    """Return the events of the intact lines, and their size in bytes."""
    found: list[Any] = []
    intact_bytes = 0
    for line in content.splitlines(keepends=True):
        checksum, _, text = line.rstrip(b"\n").partition(b" ")
        if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(text):
            if intact_bytes + len(line) < len(content):
                raise JournalDamaged("the checksum of a line is wrong")
            break
        try:
            found.append(json.loads(text))
        except (ValueError, RecursionError):
            raise JournalDamaged("a line is not JSON") from None
        intact_bytes += len(line)
    return found, intact_bytes
