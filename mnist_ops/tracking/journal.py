"""A run as it is written: an append-only file on this machine, before anything reaches the store.

Training only ever appends here, which takes milliseconds whatever the store does. `uploader` sends
the events to MLflow in their order. A line is its checksum and an event as JSON. A crash can damage
the last line only, which is dropped; a journal with another damage is set aside. The process that
has the lock of the folder writes and uploads the journal; the lock ends with the process.

Events, in the order in which a run can have them:

    open      what the run is: experiment, name, tags, params, data set; when, and on what machine
    run       the id that the store gave it
    metrics   values of one step, with their time
    params, tags, artifact
    resume    work goes on after its process ended, with the tags that changed
    end       status and time; not the last one if the work goes on later
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
from mnist_ops.tracking.events import Event, are_events

FILE = "journal.jsonl"
LOCK = "lock"
# How the folder of a damaged journal, which is no journal any more, ends.
DAMAGED = ".damaged"
# Each is in vain only where another process removes the folder at that very moment.
_LOCK_TRIES = 100


class JournalBusy(MnistOpsError):
    """Another process of this machine writes the journal."""

    resumable = True


class JournalGone(MnistOpsError):
    """The run needs no journal any more: another process has finished its cell."""

    resumable = True


class JournalDamaged(MnistOpsError):
    """A journal is damaged, or was not written by this program."""


class Journal:
    """One run's events, locked by this process until `close` or `remove`.

    Attributes:
        folder: of the journal and its artifacts.
        events: all of them so far.
    """

    def __init__(self, folder: Path):
        """Open the journal in `folder`, with the events that it has; none where it is new.

        Raises:
            JournalBusy: another process has it.
            JournalDamaged: it was, and is set aside now.
            DiskFull: there is no room.
        """
        self.folder = folder
        self._appending = threading.Lock()
        self._lock = _lock(folder)
        path = folder / FILE
        try:
            content, self.events, whole = read(folder)
        except JournalDamaged as damage:
            self.move(folder.with_name(f"{folder.name}-{now_ms()}{DAMAGED}"))
            self._lock.release()
            raise JournalDamaged(
                f"journal set aside ({damage}): its run is not gone on with; {self.folder}"
            ) from None
        with atomic_files.write_errors(path):
            self._file = path.open("ab", buffering=0)
            self._file.truncate(whole)
        if not content:
            atomic_files.sync_folder(folder)

    def append(self, kind: str, **fields: Any) -> None:
        """Add an event, on disk when this returns.

        Raises:
            DiskFull: there is no room; the event is not added.
            JournalGone: it was closed or removed.
        """
        event = {"kind": kind, **fields}
        text = json.dumps(event, separators=(",", ":")).encode()
        line = memoryview(b"%08x %s\n" % (zlib.crc32(text), text))
        with self._appending:
            if self._file.closed:
                raise JournalGone("another process finished this cell")
            whole = self._file.tell()
            try:
                with atomic_files.write_errors(self.folder):
                    # A disk that fills takes a part of what it is given before it says so.
                    while line:
                        line = line[self._file.write(line) :]
                    os.fsync(self._file.fileno())
            except BaseException:
                self._file.truncate(whole)
                raise
            self.events.append(event)

    def add_artifact(self, name: str, content: bytes) -> None:
        """Keep a file that is to become an artifact of the run.

        Raises:
            DiskFull: there is no room.
        """
        atomic_files.replace(self.folder / name, content)
        self.append("artifact", file=name)

    @property
    def opened(self) -> Event | None:
        """The event that says what the run is; None in a journal that is new."""
        return self.events[0] if self.events else None

    @property
    def run_id(self) -> str | None:
        """The run's id in the store, once it has one there."""
        found = [event["run_id"] for event in self.events if event["kind"] == "run"]
        return found[-1] if found else None

    @property
    def status(self) -> str:
        """``RUNNING``, or how the run has ended."""
        for event in reversed(self.events):
            if event["kind"] == "end":
                return str(event["status"])
            if event["kind"] == "resume":
                break
        return "RUNNING"

    @property
    def is_synced(self) -> bool:
        """Whether the store has everything."""
        return bool(self.events) and self.events[-1]["kind"] == "synced"

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
        """When the last event with a time happened, in milliseconds since the epoch."""
        return max((event["time"] for event in self.events if "time" in event), default=now_ms())

    def close(self) -> None:
        """Unlock the journal for other processes."""
        with self._appending:
            self._file.close()
        self._lock.release()

    def remove(self) -> None:
        """Delete the journal, after its upload or when it is not needed."""
        with contextlib.suppress(OSError):
            # The file of events is removed first: if the process ended after its artifacts were
            # removed, it would be uploaded again without them.
            (self.folder / FILE).unlink(missing_ok=True)
            self.move(self.folder.with_name(f"{self.folder.name}-{uuid.uuid4().hex[:8]}"))
            shutil.rmtree(self.folder)
        self.close()

    def move(self, folder: Path) -> None:
        """Give the journal another folder, beside its own."""
        self.folder = self.folder.rename(folder)


def _lock(folder: Path) -> FileLock:
    """Lock `folder`, made if need be; of one that is moved or removed meanwhile, its successor."""
    # The thread that uploads is not the one that opens.
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
            # It went away, or another made it, between two of these; or a file is in the way.
            if not tries_left:
                raise
        lock.release()
    raise JournalBusy(f"another process writes {folder}")


def now_ms() -> int:
    """Milliseconds since the epoch, as MLflow counts."""
    return int(time.time() * 1000)


def read(folder: Path) -> tuple[bytes, list[Event], int]:
    """The content of the journal in `folder`, its whole events, and how many bytes these take.

    Raises:
        JournalDamaged: it is not as this program writes journals.
    """
    path = folder / FILE
    try:
        if os.path.lexists(path) and not path.is_file():
            raise JournalDamaged("it is no file")
        content = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise JournalDamaged(f"it cannot be read: {error.strerror}") from None
    events, whole = _parse(content)
    if not are_events(events):
        raise JournalDamaged("its events have another form")
    files = [event["file"] for event in events if event["kind"] == "artifact"]
    if missing := [name for name in files if not (folder / name).is_file()]:
        raise JournalDamaged(f"{missing[0]} is missing")
    return content, events, whole


def _parse(content: bytes) -> tuple[list[Any], int]:
    """Return the events of the whole lines, and how many bytes these take."""
    found: list[Any] = []
    whole = 0
    for line in content.splitlines(keepends=True):
        checksum, _, text = line.rstrip(b"\n").partition(b" ")
        if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(text):
            if whole + len(line) < len(content):
                raise JournalDamaged("a line in the middle is not as it was written")
            break
        try:
            found.append(json.loads(text))
        except (ValueError, RecursionError):
            raise JournalDamaged("a line is no JSON") from None
        whole += len(line)
    return found, whole
