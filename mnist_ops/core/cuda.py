"""CUDA devices, as far as they are known without torch, which takes seconds to import."""

import ctypes
import sys
from pathlib import Path

# The driver's libraries on Linux and Windows; a build of torch for AMD's devices needs this file.
_LIBRARIES = ("libcuda.so.1", "nvcuda.dll")
_AMD = Path("/dev/kfd")

# torch has as many streams, and then gives the first ones again, whether they are in use or not:
# what one training does would end up in the graph that another captures.
MAX_STREAMS = 32


def is_available() -> bool:
    """Return whether torch can compute on a CUDA device of this machine."""
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
