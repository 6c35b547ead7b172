"""Identity of the process that owns a run, and whether that process is alive.

The operating system knows the processes of its machine. Processes of other machines are known by
the heartbeats that they send to the tracking store (see `claims`).
"""

import math
import os
import platform
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import psutil

# Interval of heartbeats, and the time without one after which a process counts as ended. It is
# many intervals, since a wrong decision means that a cell is computed twice.
HEARTBEAT_S = 15
HEARTBEAT_TIMEOUT_S = 120

_SEPARATOR = "|"


@dataclass(frozen=True)
class ProcessId:
    """Unique id of a process on any machine.

    Attributes:
        place: host, boot and process namespace, within which `pid` is unique.
        pid: process id.
        started: start time, seconds since the epoch, rounded to hundredths.
    """

    place: str
    pid: int
    started: float

    @classmethod
    def this_process(cls) -> "ProcessId":
        """Return the id of the current process."""
        return _owner(os.getpid())

    @classmethod
    def parse(cls, text: str) -> "ProcessId | None":
        """Parse the result of `str`; return None for any other text."""
        try:
            place, pid, started = text.split(_SEPARATOR)
            owner = cls(place, int(pid), float(started))
        except ValueError:
            return None
        # psutil raises on numbers out of the system's range.
        return owner if 0 <= owner.pid < 2**31 and math.isfinite(owner.started) else None

    def __str__(self) -> str:
        return _SEPARATOR.join((self.place, str(self.pid), f"{self.started:.2f}"))

    @property
    def host(self) -> str:
        """The name of the machine."""
        return self.place.split("/")[0]

    @property
    def is_here(self) -> bool:
        """Return whether the process is of this machine, which can then look it up."""
        return self.place == ProcessId.this_process().place

    def is_alive(self, last_heartbeat: float | None) -> bool:
        """Return whether the process is alive, as far as this machine can determine.

        Args:
            last_heartbeat: time of its last heartbeat, in seconds since the epoch by its own clock;
                None without one. Clocks are assumed to agree within a minute.
        """
        if self.is_here:
            try:
                process = psutil.Process(self.pid)
                # In a container without an init process ended processes stay as zombies.
                is_zombie = process.status() == psutil.STATUS_ZOMBIE
                return not is_zombie and abs(process.create_time() - self.started) < 1
            except psutil.NoSuchProcess:
                return False
        return last_heartbeat is not None and time.time() - last_heartbeat < HEARTBEAT_TIMEOUT_S


@lru_cache(maxsize=1)
def _owner(pid: int) -> ProcessId:
    # The cache is by process id, so that a forked process gets an entry of its own.
    started = round(psutil.Process(pid).create_time(), 2)
    return ProcessId("/".join((platform.node(), *_system())), pid, started)


def _system() -> tuple[str, str]:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()[:8]
        # Containers of one machine share its boot, not its process ids.
        return boot, str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        return f"{psutil.boot_time():.0f}", "0"
