"""Upload the journals of this process in a background thread."""

import threading
import time
from collections import Counter
from collections.abc import Callable

from mlflow import MlflowClient

from mnist_ops.tracking.claims import Claims
from mnist_ops.tracking.database import first_line
from mnist_ops.tracking.journal import Journal
from mnist_ops.tracking.journal_upload import State, Upload

# Pause between two attempts on a store that fails: the first, and the longest.
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0


class Uploader:
    """Uploads the journals of this process, in a background thread.

    Attributes:
        last_error: why the last attempt failed; None if it succeeded.
    """

    def __init__(self, client: MlflowClient, claims: Claims, log: Callable[[str], None]):
        """Upload to the store of `client`; `log` gets lines for the user."""
        self.last_error: str | None = None
        self._client = client
        self._claims = claims
        self._log = log
        self._uploads: list[Upload] = []
        self._changed = threading.Condition()
        self._ended = False
        self._next_try = 0.0
        self._pause = FIRST_PAUSE_S
        self._thread: threading.Thread | None = None

    def add(self, journal: Journal, *, claimed: bool) -> None:
        """Upload `journal` continuously until its run has ended.

        Args:
            journal: an open journal; it is closed or removed when the store has the ended run.
            claimed: whether this process has claimed the cell, and no other has finished it.
        """
        with self._changed:
            self._uploads.append(Upload(journal, self._client, self._claims, claimed))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="uploader", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def drop(self, journal: Journal) -> None:
        """Close `journal` without uploading the rest; a later start uploads it."""
        with self._changed:
            self._uploads = [d for d in self._uploads if d.journal is not journal]
        journal.close()

    def wake(self) -> None:
        """Notify the uploader of new events."""
        with self._changed:
            for upload in self._uploads:
                if upload.state is State.UPLOADED:
                    upload.state = State.PENDING
            self._changed.notify_all()

    def flush(self, timeout_s: float, *, retry: bool) -> bool:
        """Wait until everything is uploaded.

        Args:
            timeout_s: longest wait in seconds.
            retry: whether to retry after failures, the first time at once; otherwise return at
                the first failure.

        Returns:
            Whether everything is uploaded.
        """
        self.wake()
        with self._changed:
            if retry:
                for upload in self._uploads:
                    if upload.state is State.CLAIMED_ELSEWHERE:
                        upload.state = State.PENDING
                self._next_try, self._pause = 0.0, FIRST_PAUSE_S
                self._changed.notify_all()
            self._changed.wait_for(
                lambda: not self._to_send() or (self.last_error is not None and not retry),
                timeout_s,
            )
            return not self._to_send()

    @property
    def waiting(self) -> int:
        """The number of runs that are not completely uploaded."""
        return self.pending.total()

    @property
    def pending(self) -> Counter[str]:
        """Reason why runs are pending -> their number."""
        last_error = self.last_error or "they are being sent"
        return Counter(
            d.claimed_by or last_error
            for d in self._uploads
            if d.state in (State.PENDING, State.CLAIMED_ELSEWHERE)
        )

    def close(self) -> None:
        """Stop uploading; pending events stay in their journals."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        if self._thread:
            self._thread.join(timeout=5)
        for upload in self._uploads:
            upload.journal.close()

    def _to_send(self) -> list[Upload]:
        return [d for d in self._uploads if d.state is State.PENDING]

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._ended:
                    pause = self._next_try - time.monotonic()
                    if pause <= 0 and self._to_send():
                        break
                    self._changed.wait(pause if pause > 0 else None)
                if self._ended:
                    return
                due = self._to_send()
            last_error = self._send(due)
            with self._changed:
                self.last_error = last_error
                if last_error is None:
                    self._pause = FIRST_PAUSE_S
                else:
                    self._next_try = time.monotonic() + self._pause
                    self._pause = min(2 * self._pause, LONGEST_PAUSE_S)
                self._uploads = [d for d in self._uploads if d.state is not State.DONE]
                self._changed.notify_all()

    def _send(self, due: list[Upload]) -> str | None:
        """Upload new events; return the reason if the store fails."""
        for upload in due:
            try:
                upload.advance()
            except Exception as error:
                if not upload.is_refused(error):
                    return first_line(error)
                upload.refuse()
                self._log(
                    f"the store refuses a run ({first_line(error)}): "
                    f"its journal is kept in {upload.journal.folder}"
                )
        return None
