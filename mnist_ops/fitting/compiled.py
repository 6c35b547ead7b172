"""Compile and load C++ functions, optional everywhere.

A source is compiled with torch's extension tools at the first use, in a few seconds, into the
user's cache; the file there is named after everything that affects the outcome.
MNIST_OPS_KERNELS=0 turns all compiled functions off.
"""

import ctypes
import hashlib
import logging
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

FLAGS = [
    "-O3",
    "-march=native",
    "-mprefer-vector-width=512",
    # Where a product is fused with a sum the source says fma(): nowhere else.
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
]


def load(source: Path, signatures: Mapping[str, Sequence[Any]]) -> ctypes.CDLL | None:
    """Load a source, compiled for this processor; None where it cannot be, or where that is off.

    Args:
        source: a C++ file.
        signatures: the argument types of its functions, which return nothing.
    """
    if os.environ.get("MNIST_OPS_KERNELS") == "0":
        return None
    try:
        library = ctypes.CDLL(str(_compiled(source)))
    # No compiler, no ninja, no folder to write to, a compiler with other flags: all the same here.
    except Exception as error:
        logging.getLogger(__name__).info("%s is not compiled: %s", source.name, error)
        return None
    for function, arguments in signatures.items():
        getattr(library, function).argtypes = arguments
        getattr(library, function).restype = None
    return library


def _compiled(source: Path) -> Path:
    processor = Path("/proc/cpuinfo")
    flags = (
        processor.read_text(encoding="utf-8", errors="replace")
        .partition("\nflags")[2]
        .partition("\n")[0]
    )
    made_of = [
        source.read_text(encoding="utf-8"),
        *FLAGS,
        version("torch"),
        platform.platform(),
        flags,
    ]
    digest = hashlib.sha256("\n".join(made_of).encode()).hexdigest()[:16]
    built = user_cache_path("mnist-ops") / "kernels" / f"{digest}.so"
    if not built.exists():
        built.parent.mkdir(parents=True, exist_ok=True)
        # Put in place in one piece: processes that start together, or are killed, cannot spoil it.
        with tempfile.TemporaryDirectory(dir=built.parent) as folder:
            _compile(source, folder)
            Path(folder, f"{source.stem}.so").replace(built)
    return built


def _compile(source: Path, folder: str) -> None:
    # In a process of its own: the workers of support vector machines need no torch.
    arguments = [source.stem, str(source), folder, *FLAGS]
    code = (
        "import sys; from torch.utils import cpp_extension; "
        "name, source, folder, *flags = sys.argv[1:]; "
        "cpp_extension.load(name, [source], flags, build_directory=folder, is_python_module=False)"
    )
    # -P: a file of the user's folder must not take the place of a module.
    command = [sys.executable, "-P", "-c", code, *arguments]
    subprocess.run(command, check=True, capture_output=True)
