"""Combine the client, claims, journals and uploader of this process for one store."""

import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from mlflow import MlflowClient

from mnist_ops.core import keys, paths
from mnist_ops.tracking import claims
from mnist_ops.tracking.claims import Claims
from mnist_ops.tracking.client import CheckedClient
from mnist_ops.tracking.database import open_sqlite, quieten, sqlite_path, without_password
from mnist_ops.tracking.journal import DAMAGED, Journal, JournalBusy, JournalDamaged
from mnist_ops.tracking.journal_upload import REFUSED
from mnist_ops.tracking.moved_artifacts import repoint_moved
from mnist_ops.tracking.store import check_writable, connect, tracking_errors
from mnist_ops.tracking.uploader import Uploader

# Error tag of runs whose process ended before they did.
ENDED_BEFORE = "its process ended before it did"

_OF_MLFLOW = {
    # The uploader retries by itself, and must not block in MLflow's retries.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}


@dataclass(frozen=True)
class Address:
    """Address of a tracking store.

    Attributes:
        uri: of the store, absolute.
        store: id of the store, which is that of its run of claims.
    """

    # Not shown by Dask, as it may have a password.
    uri: str = field(repr=False)
    store: str


class Tracker:
    """Access of this process to a store.

    Attributes:
        address: of the store.
        client: MLflow's.
        claims: of this process.
        uploader: of this process.
        journals: folder of this machine's journals.
    """

    def __init__(self, address: Address, log: Callable[[str], None]):
        """Use the store at `address`, which may be unavailable; `log` gets lines for the user."""
        limit_retries()
        self.address = address
        self._log = log
        self.client = CheckedClient(address.uri)
        self.claims = Claims(self.client, address.store)
        self.uploader = Uploader(self.client, self.claims, log)
        self.journals = paths.journals_dir(address.store)
        paths.note_address(address.store, without_password(address.uri))

    def open_journal(self, folder: Path) -> Journal:
        """Open the journal in `folder`; set a damaged one aside and create a new one.

        Raises:
            JournalBusy: another process has it open.
            DiskFull: there is no room.
        """
        try:
            return Journal(folder)
        except JournalDamaged as damage:
            self._log(str(damage))
            return Journal(folder)

    def abandoned_journals(self) -> Iterator[Journal]:
        """Yield the intact journals that no process has open; the caller closes them."""
        folders = sorted(self.journals.iterdir()) if self.journals.exists() else []
        for folder in folders:
            if folder.name.endswith((REFUSED, DAMAGED)) or not folder.is_dir():
                continue
            with contextlib.suppress(JournalBusy):
                journal = self.open_journal(folder)
                if journal.opened is None:
                    # Its process ended before it wrote an event.
                    journal.remove()
                else:
                    yield journal

    def take_over(self, keep: Callable[[str], bool] = lambda fingerprint: False) -> int:
        """Upload the journals of processes of this machine that have ended.

        Open runs are ended as KILLED, unless they are about to be resumed.

        Args:
            keep: returns whether the cell with a fingerprint is about to be resumed.

        Returns:
            The number of journals to upload.
        """
        taken = 0
        for journal in self.abandoned_journals():
            running = journal.status == "RUNNING"
            kept = running and journal.fingerprint and keep(journal.fingerprint)
            if journal.is_synced or kept:
                journal.close()
                continue
            if running:
                end_as_killed(journal)
            self.uploader.add(journal, claimed=False)
            taken += 1
        return taken

    def upload_finished(self, fingerprints: Iterable[str], timeout_s: float) -> None:
        """Upload the cells that ended processes of this machine had finished.

        Args:
            fingerprints: of the cells.
            timeout_s: longest wait in seconds.
        """
        found = False
        for fingerprint in fingerprints:
            folder = self.journals / fingerprint
            if folder.exists():
                with contextlib.suppress(JournalBusy):
                    journal = self.open_journal(folder)
                    if journal.status == "FINISHED":
                        self.uploader.add(journal, claimed=False)
                        found = True
                    else:
                        journal.close()
        if found:
            self.uploader.flush(timeout_s, retry=False)

    def retire(self, journal: Journal) -> None:
        """End a run that cannot be resumed, and move its journal to make room for a new one."""
        if journal.status == "RUNNING":
            end_as_killed(journal)
        mark = journal.tags[keys.JOURNAL]
        journal.move(journal.folder.with_name(f"{journal.folder.name}-{mark[:8]}"))
        if journal.is_synced:
            journal.remove()
        else:
            self.uploader.add(journal, claimed=False)

    def close(self) -> None:
        """Stop uploading and release all claims."""
        self.uploader.close()
        self.claims.close()


def end_as_killed(journal: Journal) -> None:
    """End the run of a journal as KILLED, at the time of its last event."""
    at = journal.last_time
    journal.append("tags", values={keys.ERROR: ENDED_BEFORE})
    journal.append("end", status="KILLED", time=at)


def open_tracker(uri: str, log: Callable[[str], None] = lambda line: None) -> Tracker:
    """Open the store at `uri`; create it if it does not exist.

    Raises:
        TrackingUnavailable: the store does not answer or cannot be used.
        NotWritable: the store cannot be written.
    """
    limit_retries()
    check_writable(uri)
    client = connect(uri)
    with tracking_errors(uri):
        repoint_moved(uri, log)
        store = store_id(client, create=True)
        assert store is not None
        paths.check(store)
        claims.drop_old_heartbeats(client, store)
    return shared_tracker(Address(uri, store), log)


def store_id(client: MlflowClient, *, create: bool) -> str | None:
    """Return the id of a store, under which this machine keeps its journals and checkpoints.

    A copied file has the id of its original. It gets a new one, so that the two do not share
    journals and claims.

    Args:
        client: of the store.
        create: whether a store without an id gets one.

    Returns:
        The id; None if it has none.
    """
    found = claims.find(client, create=create)
    if found is None or not _is_copy(client.tracking_uri, found):
        return found
    return claims.renew(client) if create else None


def _is_copy(uri: str, store: str) -> bool:
    """Return whether the store with this id was last used as another file, which still has it."""
    here = sqlite_path(uri)
    noted = sqlite_path(paths.address_of(store) or "")
    if here is None or noted is None or not noted.exists() or noted.samefile(here):
        return False
    try:
        with closing(open_sqlite(noted)) as database:
            found = database.execute(
                "SELECT 1 FROM experiment_tags WHERE key = ? AND value = ?",
                (claims.RUN_TAG, store),
            )
            return found.fetchone() is not None
    except sqlite3.Error:
        return False


_trackers: dict[Address, Tracker] = {}
# Several threads may open the same store at the same time.
_opening = threading.Lock()


def shared_tracker(address: Address, log: Callable[[str], None] = lambda line: None) -> Tracker:
    """Return the tracker of this process for a store; only the first call's `log` is used."""
    with _opening:
        if address not in _trackers:
            _trackers[address] = Tracker(address, log)
        return _trackers[address]


def close_tracker(tracker: Tracker) -> None:
    """Close the tracker of this process for a store."""
    _trackers.pop(tracker.address, None)
    tracker.close()


def limit_retries() -> None:
    """Make MLflow print nothing and give up early, unless the environment sets otherwise."""
    quieten()
    # Always set: MLflow's own background writes fail silently.
    os.environ["MLFLOW_ENABLE_ASYNC_LOGGING"] = "false"
    for variable, value in _OF_MLFLOW.items():
        os.environ.setdefault(variable, value)
    # The uploader reports these errors itself.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
