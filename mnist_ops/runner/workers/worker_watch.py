"""Detect workers that stop responding, as on a suspended machine or a failed network."""

import time
from collections.abc import Callable

from distributed import Client

# A computing worker sends a heartbeat about every second, a swapping one more rarely.
UNRESPONSIVE_AFTER_S = 45.0
LOOK_EVERY_S = 5.0
_NAMED = 5


class WorkerWatch:
    """Keeps track of the workers of a cluster that do not respond.

    Attributes:
        workers: their addresses.
    """

    def __init__(self, client: Client, log: Callable[[str], None]):
        """Watch the workers of `client`; `log` gets a line when one stops responding."""
        self.workers: set[str] = set()
        self._client = client
        self._log = log
        # Address -> last heartbeat by the scheduler's clock, and the time when it was first seen.
        self._seen: dict[str, tuple[float, float]] = {}
        self._looked = time.monotonic()
        self._has_any = True

    def look(self) -> None:
        """Check the workers, unless the last check was only seconds ago."""
        now = time.monotonic()
        if now - self._looked < LOOK_EVERY_S:
            return
        if now - self._looked > UNRESPONSIVE_AFTER_S:
            # This process was suspended.
            self._seen.clear()
        self._looked = now
        workers = self._client.scheduler_info(n_workers=-1)["workers"]
        if self._has_any and not workers:
            self._log(
                "no worker is left: if none comes back, stop with Ctrl-C and run the same command"
            )
        self._has_any = bool(workers)
        for address in self._seen.keys() - workers.keys():
            del self._seen[address]
            if address in self.workers:
                self.workers.remove(address)
                self._log(f"worker {address} is lost: its cells go to other workers")
        for address, worker in workers.items():
            seen, since = self._seen.get(address, (None, now))
            if worker["last_seen"] != seen:
                self._seen[address] = (worker["last_seen"], now)
                if address in self.workers:
                    self.workers.remove(address)
                    self._log(f"worker {address} answers again")
            elif now - since >= UNRESPONSIVE_AFTER_S and address not in self.workers:
                self.workers.add(address)
                self._log(
                    f"worker {address} has not answered for {now - since:.0f} s; "
                    f"{self._cells_of(address)}"
                )

    def answering(self) -> list[str]:
        """Return the addresses of the workers that answer."""
        return sorted(self._client.scheduler_info(n_workers=-1)["workers"].keys() - self.workers)

    def _cells_of(self, address: str) -> str:
        keys = self._client.processing([address]).get(address, ())
        # A key is the name of a cell and an id.
        names = sorted({str(key).rpartition("-")[0] for key in keys})
        if not names:
            return "it computes nothing"
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return (
            f"it has {', '.join(names[:_NAMED])}{more}, which other workers get if the scheduler "
            "gives it up"
        )
