"""Compile and load the kernels.

The source, kernels.cpp, is compiled with torch's extension tools at the first use, in a few
seconds, into the user's cache; the file there is named after everything that affects the outcome.
"""

import ctypes
import hashlib
import logging
import os
import platform
import tempfile
from ctypes import c_bool, c_double, c_float, c_int64, c_void_p
from functools import cache
from pathlib import Path

import torch
from platformdirs import user_cache_path

SOURCE = Path(__file__).with_name("kernels.cpp")
NAME = "mnist_ops_kernels"
FLAGS = [
    "-O3",
    "-march=native",
    "-mprefer-vector-width=512",
    # Where torch fuses a product with a sum the source says fma(): nowhere else.
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
]

_SIGNATURES = {
    "adam_step": [c_int64, *[c_void_p] * 7, *[c_float] * 6],
    "sgd_step": [c_int64, *[c_void_p] * 6, c_float, c_float, c_bool],
    "norm_forward": [*[c_void_p] * 9, c_int64, c_int64, c_double, c_float, c_bool],
    "norm_backward": [*[c_void_p] * 10, c_int64, c_int64, c_bool],
    "gather": [c_void_p, c_void_p, *[c_int64] * 14, c_bool],
}


@cache
def load() -> ctypes.CDLL | None:
    """Load the kernels, compiled for this processor; None where they cannot be, or are off."""
    if os.environ.get("MNIST_OPS_KERNELS") == "0":
        return None
    try:
        return _compiled()
    # No compiler, no ninja, no folder to write to, a compiler with other flags: all the same here.
    except Exception as error:
        logging.getLogger(__name__).info("no compiled kernels: %s", error)
        return None


def _compiled() -> ctypes.CDLL:
    processor = Path("/proc/cpuinfo")
    flags = (
        processor.read_text(encoding="utf-8", errors="replace")
        .partition("\nflags")[2]
        .partition("\n")[0]
    )
    made_of = [
        SOURCE.read_text(encoding="utf-8"),
        *FLAGS,
        torch.__version__,
        platform.platform(),
        flags,
    ]
    digest = hashlib.sha256("\n".join(made_of).encode()).hexdigest()[:16]
    built = user_cache_path("mnist-ops") / "kernels" / f"{digest}.so"
    if not built.exists():
        built.parent.mkdir(parents=True, exist_ok=True)
        # Put in place in one piece: processes that start together, or are killed, cannot spoil it.
        with tempfile.TemporaryDirectory(dir=built.parent) as folder:
            _compile(folder)
            Path(folder, f"{NAME}.so").replace(built)
    library = ctypes.CDLL(str(built))
    for function, arguments in _SIGNATURES.items():
        getattr(library, function).argtypes = arguments
        getattr(library, function).restype = None
    return library


def _compile(folder: str) -> None:
    log = logging.getLogger("torch.utils.cpp_extension")
    before = log.level
    # Its import warns of a CUDA toolkit that is not needed here.
    log.setLevel(logging.ERROR)
    try:
        from torch.utils import cpp_extension

        cpp_extension.load(
            NAME, [str(SOURCE)], FLAGS, build_directory=folder, is_python_module=False
        )
    finally:
        log.setLevel(before)
