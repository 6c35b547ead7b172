"""The memory allocator that worker processes get."""

import sys
from ctypes.util import find_library


def fast_allocator() -> str | None:
    """Return the library of a faster memory allocator; None if none is installed."""
    if sys.platform != "linux":
        return None
    return find_library("tcmalloc_minimal") or find_library("tcmalloc")
