"""What a worker process of this machine does first: Dask loads this module in it."""

import os
import signal
from pathlib import Path
from typing import Any

# The variable that names the core of a worker.
CORE = "MNIST_OPS_CORE"


def dask_setup(worker: Any) -> None:
    """Take one core, and leave Ctrl-C to the process that the user started.

    A terminal sends it to both; that one then asks the workers to save and stop.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    core = os.environ.get(CORE)
    if core is None or not hasattr(os, "sched_setaffinity"):
        return
    # Threads inherit the core of the one that starts them; those that there are do not.
    for thread in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(thread.name), {int(core)})
