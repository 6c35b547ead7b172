"""The subject of the checks: a store, this machine's state folder of it, and the data sets."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from mlflow import MlflowClient

from mnist_ops import tracking
from mnist_ops.core import paths
from mnist_ops.tracking.claims import Claims

Log = Callable[[str], None]


@dataclass
class Context:
    """Subject and options of the checks.

    Attributes:
        uri: of the tracking store, absolute.
        data_dir: folder of the data sets; None is the default one.
        log: gets lines for the user during long operations.
        force: whether fixes may also discard results, or change what only the user can judge.
        now: returns the time, seconds since the epoch.
        client: of the store; None before the check of the store has succeeded.
        store: its id; None if it has none.
    """

    uri: str
    data_dir: Path | None = None
    log: Log = lambda line: None
    force: bool = False
    now: Callable[[], float] = time.time
    client: MlflowClient | None = field(default=None, init=False)
    store: str | None = field(default=None, init=False)
    _ended: dict[tracking.ProcessId, bool] = field(default_factory=dict, init=False)

    def ended_among(self, owners: Collection[tracking.ProcessId]) -> set[tracking.ProcessId]:
        """Return the `owners` whose process has certainly ended; each is looked up once."""
        if self.client is None or self.store is None:
            return set()
        new = {owner for owner in owners if owner not in self._ended}
        ended = (
            tracking.ended_among(new, Claims(self.client, self.store), self.log) if new else set()
        )
        self._ended |= {owner: owner in ended for owner in new}
        return {owner for owner in owners if self._ended[owner]}

    @property
    def entries(self) -> tracking.Entries:
        """Current claims of the store; empty without a store."""
        if self.client is None or self.store is None:
            return tracking.Entries({}, {})
        return Claims(self.client, self.store).entries()

    @property
    def state_dir(self) -> Path | None:
        """State folder of the store on this machine."""
        return paths.store_dir(self.store) if self.store else None
