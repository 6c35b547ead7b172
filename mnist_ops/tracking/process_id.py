"""Which process a run belongs to, and whether that process still lives.

On the machine itself the system knows. From another machine only a sign of life can tell, which
each owner leaves in the tracking store (see `claims`).
"""

import math
import os
import platform
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import psutil

# An owner leaves a sign of life this often, and is held for dead after so long without one: many
# times as long, since a wrong verdict costs a computation.
HEARTBEAT_S = 15
HEARTBEAT_TIMEOUT_S = 120

_SEPARATOR = "|"


@dataclass(frozen=True)
class ProcessId:
    """A process, told apart from all others at all times.

    Attributes:
        place: host, boot and process namespace: where `pid` means this process.
        pid: process id.
        started: seconds since the epoch, to the hundredth.
    """

    place: str
    pid: int
    started: float

    @classmethod
    def this_process(cls) -> "ProcessId":
        """The process that asks."""
        return _owner(os.getpid())

    @classmethod
    def parse(cls, text: str) -> "ProcessId | None":
        """What `str` gave; None for anything else."""
        try:
            place, pid, started = text.split(_SEPARATOR)
            owner = cls(place, int(pid), float(started))
        except ValueError:
            return None
        # What no system gives, psutil does not take.
        return owner if 0 <= owner.pid < 2**31 and math.isfinite(owner.started) else None

    def __str__(self) -> str:
        return _SEPARATOR.join((self.place, str(self.pid), f"{self.started:.2f}"))

    @property
    def host(self) -> str:
        """The name of its machine."""
        return self.place.split("/")[0]

    @property
    def is_here(self) -> bool:
        """Return whether this machine can look the process up."""
        return self.place == ProcessId.this_process().place

    def is_alive(self, last_heartbeat: float | None) -> bool:
        """Whether the process is alive, as far as can be told from here.

        Args:
            last_heartbeat: its last heartbeat, in seconds since the epoch by its own clock; None
                where it sent none. Clocks are assumed to agree within a minute.
        """
        if self.is_here:
            try:
                process = psutil.Process(self.pid)
                # Where nobody reaps them, as in many a container, the dead keep their ids.
                is_dead = process.status() == psutil.STATUS_ZOMBIE
                return not is_dead and abs(process.create_time() - self.started) < 1
            except psutil.NoSuchProcess:
                return False
        return last_heartbeat is not None and time.time() - last_heartbeat < HEARTBEAT_TIMEOUT_S


@lru_cache(maxsize=1)
def _owner(pid: int) -> ProcessId:
    # A process that was forked asks with a pid of its own.
    started = round(psutil.Process(pid).create_time(), 2)
    return ProcessId("/".join((platform.node(), *_system())), pid, started)


def _system() -> tuple[str, str]:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()[:8]
        # Containers of one machine share its boot, not its process ids.
        return boot, str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        return f"{psutil.boot_time():.0f}", "0"
