"""This process's way to one store: its claims, its journals, and their delivery."""

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
from mnist_ops.tracking.artifacts import repoint_moved
from mnist_ops.tracking.claims import Claims
from mnist_ops.tracking.client import CheckedClient
from mnist_ops.tracking.database import open_sqlite, sqlite_path, without_password
from mnist_ops.tracking.journal import DAMAGED, Journal, JournalBusy, JournalDamaged
from mnist_ops.tracking.store import check_writable, connect, tracking_errors
from mnist_ops.tracking.uploader import REFUSED, Uploader

_OF_MLFLOW = {
    # The courier tries again by itself, and must not hang in MLflow's own retries until then.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    # MLflow would draw a bar for each file that it hands over, and print two lines a run.
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


@dataclass(frozen=True)
class Address:
    """Where runs go.

    Attributes:
        uri: of the store, absolute.
        store: the store's id: its ledger's run.
    """

    # A password in it must not be in what a scheduler shows of its tasks.
    uri: str = field(repr=False)
    store: str


class Tracker:
    """One process's access to a store.

    Attributes:
        address: of the store.
        client: MLflow's.
        claims: who computes which cell.
        uploader: delivers journals.
        journals: the folder of this machine's journals.
    """

    def __init__(self, address: Address, log: Callable[[str], None]):
        """Access to the store at `address`, which need not answer; `log` gets lines for people."""
        quieten_mlflow()
        self.address = address
        self._log = log
        self.client = CheckedClient(address.uri)
        self.claims = Claims(self.client, address.store)
        self.uploader = Uploader(self.client, self.claims, log)
        self.journals = paths.journals_dir(address.store)
        paths.note_address(address.store, without_password(address.uri))

    def open_journal(self, folder: Path) -> Journal:
        """The journal in `folder`; where that is damaged it is set aside, and a new one begun.

        Raises:
            JournalBusy: another process has it.
            DiskFull: there is no room.
        """
        try:
            return Journal(folder)
        except JournalDamaged as damage:
            self._log(str(damage))
            return Journal(folder)

    def abandoned_journals(self) -> Iterator[Journal]:
        """The journals that no process has open, whole ones, each open until it is closed."""
        folders = sorted(self.journals.iterdir()) if self.journals.exists() else []
        for folder in folders:
            if folder.name.endswith((REFUSED, DAMAGED)) or not folder.is_dir():
                continue
            with contextlib.suppress(JournalBusy):
                journal = self.open_journal(folder)
                if journal.opened is None:
                    # Its process died before it had written a line.
                    journal.remove()
                else:
                    yield journal

    def take_over(self, keep: Callable[[str], bool] = lambda fingerprint: False) -> int:
        """Deliver what processes of this machine have left behind when they died.

        A run whose work had not ended is ended as KILLED, unless somebody is about to go on.

        Args:
            keep: says of a cell's fingerprint whether somebody is.

        Returns:
            How many runs are to be delivered.
        """
        taken = 0
        for journal in self.abandoned_journals():
            assert journal.opened is not None
            fingerprint = journal.opened["tags"].get(keys.FINGERPRINT)
            running = journal.status == "RUNNING"
            if journal.is_synced or (running and fingerprint and keep(fingerprint)):
                journal.close()
                continue
            if running:
                end_as_killed(journal)
            self.uploader.add(journal, claimed=False)
            taken += 1
        return taken

    def upload_finished(self, fingerprints: Iterable[str], timeout_s: float) -> None:
        """Deliver the cells that processes of this machine finished just before they died."""
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
        """End a run that cannot go on, and have its journal make room for another of its cell."""
        if journal.status == "RUNNING":
            end_as_killed(journal)
        assert journal.opened is not None
        mark = journal.opened["tags"][keys.JOURNAL]
        journal.move(journal.folder.with_name(f"{journal.folder.name}-{mark[:8]}"))
        if journal.is_synced:
            journal.remove()
        else:
            self.uploader.add(journal, claimed=False)

    def close(self) -> None:
        """Stop delivering, and let go what is held."""
        self.uploader.close()
        self.claims.close()


def end_as_killed(journal: Journal) -> None:
    """Say in a journal that its process died, as of the last sign of it."""
    at = journal.last_time
    journal.append("tags", values={keys.ERROR: "its process ended before it did"})
    journal.append("end", status="KILLED", time=at)


def open_tracker(uri: str, log: Callable[[str], None] = lambda line: None) -> Tracker:
    """Access to the store at `uri`, which is made ready if it is new.

    Raises:
        TrackingUnavailable: the store does not answer or cannot be used.
        NotWritable: it cannot be written.
    """
    quieten_mlflow()
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
    """The id of a store, under which this machine keeps what belongs to it.

    A copied file has its original's: it gets one of its own, so that it has no part in the
    original's journals and claims.

    Args:
        client: of the store.
        create: whether a store without an id gets one.

    Returns:
        None where it has none yet.
    """
    found = claims.find(client, create=create)
    if found is None or not _is_copy(client.tracking_uri, found):
        return found
    return claims.renew(client) if create else None


def _is_copy(uri: str, store: str) -> bool:
    """Return whether the store with this id was last used in another file that still has it."""
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
# Cells may be computed in several threads, which begin together.
_opening = threading.Lock()


def shared_tracker(address: Address, log: Callable[[str], None] = lambda line: None) -> Tracker:
    """This process's one access to the store at `address`; the first one's `log` stays."""
    with _opening:
        if address not in _trackers:
            _trackers[address] = Tracker(address, log)
        return _trackers[address]


def close_tracker(tracker: Tracker) -> None:
    """Close this process's access to a store."""
    _trackers.pop(tracker.address, None)
    tracker.close()


def quieten_mlflow() -> None:
    """Have MLflow give up early and print nothing; what the user's environment sets stays."""
    # Except this one: what is written in the background fails without a word.
    os.environ["MLFLOW_ENABLE_ASYNC_LOGGING"] = "false"
    for variable, value in _OF_MLFLOW.items():
        os.environ.setdefault(variable, value)
    # What it warns of at each try the courier tells when it is asked.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
