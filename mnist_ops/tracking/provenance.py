"""Hardware, library versions and commit of a run."""

import getpass
import os
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

import psutil

from mnist_ops.core import instruction_set, keys
from mnist_ops.study.method import method_of
from mnist_ops.study.specs import Spec

_LIBRARIES = ("mnist-ops", "torch", "torchvision", "scikit-learn", "mlflow", "numpy")


@cache
def tags(device: str) -> dict[str, str]:
    """Return the tags for hardware, versions and commit of a fit on ``cpu`` or ``cuda``."""
    computed = instruction_set.current() if device == "cpu" else ""
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
        | ({keys.INSTRUCTION_SET: computed} if computed else {})
    )


def arithmetic(device: str) -> dict[str, str]:
    """Return the tags that, with the spec, determine the bits of a fit's result on `device`."""
    found = tags(device)
    processor = "gpu" if device == "cuda" else "cpu"
    names = {
        f"{keys.HARDWARE}.{processor}",
        f"{keys.VERSION}.torch",
        f"{keys.VERSION}.mnist_ops",
        keys.INSTRUCTION_SET,
    }
    return {name: value for name, value in found.items() if name in names}


def instructions_of(run_tags: Mapping[str, str], spec: Spec) -> str:
    """Return the instruction set that a run was computed with, where its result depends on it.

    Empty for a fit that torch does not compute or that ran on CUDA, and where nothing tells.
    """
    if spec.device != "cpu" or not method_of(spec).uses_torch:
        return ""
    return instruction_set.recorded(
        run_tags.get(keys.INSTRUCTION_SET), run_tags.get(f"{keys.HARDWARE}.cpu")
    )


def user() -> str:
    """Return the name of the user, or the number if the system has no name, as in a container."""
    try:
        return getpass.getuser()
    # Before Python 3.13 the exception depends on the platform.
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
    # Imported here, since it takes seconds that CPU runs do not need.
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
    """Return the commit of the checkout with this code; ``unknown`` outside a checkout.

    Git refuses a checkout of another user, since its settings might run programs. It is allowed
    here, as this process runs the code of the checkout already.
    """
    folder = Path(__file__).resolve().parent
    # Without locks Git does not write into the checkout.
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
