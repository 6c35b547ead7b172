"""Make the changes of ``--fix``, and record them."""

import uuid
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from mnist_ops import tracking
from mnist_ops.ops.doctor import fix_record
from mnist_ops.ops.doctor.changes import Change
from mnist_ops.ops.doctor.context import Context


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
        fix_record.append("change", fix=self.id, type=type(change).__name__, fields=asdict(change))
        self.changes += 1
        with tracking.tracking_errors(self._context.uri):
            change.do(self._context.client)

    def note(self, did: str) -> None:
        """Record in a line what a fix did, if it has recorded a change."""
        if self._begun:
            fix_record.append("did", fix=self.id, text=did)

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
            self._locked.enter_context(fix_record.exclusive_fix())
            fix_record.append(
                "fix",
                fix=self.id,
                uri=tracking.without_password(self._context.uri),
                store=self._context.store,
                time=datetime.now(UTC).isoformat(timespec="seconds"),
            )
            self._begun = True
