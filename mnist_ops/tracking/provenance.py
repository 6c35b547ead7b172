"""Where a run was computed: hardware, library versions, commit."""

import getpass
import os
import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

import psutil

from mnist_ops.core import keys

_LIBRARIES = ("mnist-ops", "torch", "torchvision", "scikit-learn", "mlflow", "numpy")


@cache
def tags(device: str) -> dict[str, str]:
    """Tags that say on what a fit on `device` (``cpu`` or ``cuda``) was computed."""
    hardware = {
        "cpu": _cpu_name(),
        "cores": str(os.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "gpu": _gpu_name() if device == "cuda" else "none used",
    }
    versions = {"python": platform.python_version()} | {
        library.replace("-", "_"): _version(library) for library in _LIBRARIES
    }
    return (
        {f"{keys.HARDWARE}.{name}": value for name, value in hardware.items()}
        | {f"{keys.VERSION}.{name}": value for name, value in versions.items()}
        | {keys.GIT_COMMIT: _git_commit()}
    )


def arithmetic(device: str) -> dict[str, str]:
    """What decides, beside the spec, to which bits a fit on `device` computes."""
    found = tags(device)
    processor = "gpu" if device == "cuda" else "cpu"
    names = (f"{keys.HARDWARE}.{processor}", f"{keys.VERSION}.torch", f"{keys.VERSION}.mnist_ops")
    return {name: found[name] for name in names}


def user() -> str:
    """The name of who runs this process; in a container the system may know a number alone."""
    try:
        return getpass.getuser()
    # Until Python 3.13 it raises what its parts do.
    except (KeyError, OSError, ImportError):
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"


def _cpu_name() -> str:
    try:
        for line in (
            Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        ):
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _gpu_name() -> str:
    # It takes seconds, for which what is not on a GPU need not wait.
    import torch

    return torch.cuda.get_device_name()


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        # The project runs from its folder too, where `mlflow run` does not install it.
        from mnist_ops import __version__

        return __version__


def _git_commit() -> str:
    """The commit of the folder that the code lies in; ``unknown`` outside a checkout.

    Git refuses a checkout of another user, since its settings might run programs. This process runs
    the code that lies there already.
    """
    folder = Path(__file__).resolve().parent
    # Without locks nothing is written into it.
    git = ["git", "-c", "safe.directory=*", "--no-optional-locks"]
    try:
        done = subprocess.run(
            [*git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()
