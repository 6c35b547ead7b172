"""Set up a worker process of this machine; Dask loads this module at its start.

The process that workers are forked from loads it first, and imports what they need.
"""

import importlib
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

# Variable with the number of the core of a worker.
CORE = "MNIST_OPS_CORE"
# Variable with the modules to import, of the process that workers are forked from.
IMPORTS = "MNIST_OPS_IMPORTS"

for _module in os.environ.pop(IMPORTS, "").split():
    # An import that fails does so again in a worker, where it is an error of its cell.
    with suppress(Exception):
        importlib.import_module(_module)


def dask_setup(worker: Any) -> None:
    """Pin the process to its core, and ignore Ctrl-C.

    A terminal sends Ctrl-C to all processes; the main process asks the workers to save and stop.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    core = os.environ.get(CORE)
    if core is None or not hasattr(os, "sched_setaffinity"):
        return
    # New threads inherit the core of the thread that starts them; existing threads do not.
    for thread in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(thread.name), {int(core)})
