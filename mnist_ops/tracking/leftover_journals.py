"""Inspect journals on disk without locking them."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from mnist_ops.core import keys
from mnist_ops.tracking.events import Event, RunEvents
from mnist_ops.tracking.journal import DAMAGED, LOCK, JournalDamaged, read
from mnist_ops.tracking.journal_upload import REFUSED
from mnist_ops.tracking.process_id import ProcessId


@dataclass(frozen=True)
class LeftoverJournal(RunEvents):
    """A journal on disk.

    Attributes:
        folder: of the journal.
        events: the intact ones.
        in_use: whether a live process has it open.
        is_damaged: whether it cannot be read.
    """

    folder: Path
    events: tuple[Event, ...]
    in_use: bool
    is_damaged: bool = False

    @property
    def fit_group(self) -> str | None:
        """Key of the checkpoint from which the run can be resumed."""
        return self.tags.get(keys.FIT_GROUP)

    @property
    def name(self) -> str:
        """Name to display; the journal of a grid has no run name."""
        if self.opened is None:
            return self.folder.name
        return str(self.opened["name"]) or "the run of a grid"

    @property
    def owner(self) -> ProcessId | None:
        """The process that wrote it last; None if it is unknown."""
        return _owner(self.events)

    @property
    def refused(self) -> bool:
        """Return whether the store refused it."""
        return self.folder.name.endswith(REFUSED)


def leftover_journals(journals: Path) -> Iterator[LeftoverJournal]:
    """Yield every journal below the folder `journals`."""
    folders = sorted(journals.iterdir()) if journals.is_dir() else []
    for folder in folders:
        # A journal may be uploaded and removed meanwhile.
        with contextlib.suppress(FileNotFoundError, FileExistsError, NotADirectoryError):
            if folder.is_dir():
                yield inspect(folder)


def inspect(folder: Path) -> LeftoverJournal:
    """Inspect the journal in `folder`, which need not exist."""
    events: list[Event] = []
    try:
        is_damaged = folder.name.endswith(DAMAGED)
        if not is_damaged:
            _, events, _ = read(folder)
    except JournalDamaged:
        is_damaged = True
    return LeftoverJournal(folder, tuple(events), _in_use(folder, events), is_damaged)


def _owner(events: Sequence[Event]) -> ProcessId | None:
    owners = [event["tags"].get(keys.OWNER) for event in events if "tags" in event]
    return ProcessId.parse(owners[-1] or "") if owners else None


def _in_use(folder: Path, events: list[Event]) -> bool:
    # Checked first, since trying a lock means holding it for a moment.
    owner = _owner(events)
    if owner is not None and owner.is_alive(None):
        return True
    if not (folder / LOCK).exists():
        return False
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False
