"""The library of the compiled kernels, kernels.cpp."""

import ctypes
from ctypes import c_bool, c_double, c_float, c_int64, c_void_p
from functools import cache
from pathlib import Path

from mnist_ops.fitting import compiled

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
    return compiled.load(Path(__file__).with_name("kernels.cpp"), _SIGNATURES)
