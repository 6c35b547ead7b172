"""Whether there is a CUDA device, asked of torch only where there can be one."""

import ctypes
import sys
from pathlib import Path

# The driver's libraries on Linux and Windows; a build of torch for AMD's devices needs this file.
_LIBRARIES = ("libcuda.so.1", "nvcuda.dll")
_AMD = Path("/dev/kfd")


def is_available() -> bool:
    """Return whether torch can compute on a CUDA device of this machine."""
    # torch takes seconds to import.
    if "torch" not in sys.modules and not _AMD.exists() and not any(map(_loads, _LIBRARIES)):
        return False
    import torch

    return torch.cuda.is_available()


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
