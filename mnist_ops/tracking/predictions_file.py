"""Read a run's predictions from a file, whose content is untrusted."""

import io
import lzma
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from mnist_ops.study.dataset import MAX_CLASSES
from mnist_ops.study.results import Predictions
from mnist_ops.study.validity import MAX_IMAGES

# Largest header of an array, in bytes.
_MAX_HEADER = 4096
# Exceptions of zipfile and numpy on invalid content.
_UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    EOFError,
    RuntimeError,
    SyntaxError,
    OverflowError,
    MemoryError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)


def read_predictions(file: Path | IO[bytes]) -> Predictions | None:
    """Read a predictions file; return None if it is invalid.

    Only arrays of a plausible size are unpacked, and no pickle is read.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            predicted = _array(archive, "predicted", MAX_CLASSES)
            label = _array(archive, "label", MAX_CLASSES)
            index = _array(archive, "index", MAX_IMAGES)
    except _UNREADABLE:
        return None
    if not len(predicted) == len(label) == len(index):
        return None
    return Predictions(predicted.astype(np.uint8), label.astype(np.uint8), index.astype(np.int32))


def _array(archive: zipfile.ZipFile, name: str, below: int) -> NDArray[Any]:
    """Return a vector of integers in [0, `below`); raise one of `_UNREADABLE` for anything else."""
    member = archive.getinfo(f"{name}.npy")
    if member.file_size > _MAX_HEADER + MAX_IMAGES * 8:
        raise ValueError("larger than predictions can be")
    content = io.BytesIO(archive.read(member))
    version = np.lib.format.read_magic(content)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, _, dtype = read_header(content, max_header_size=_MAX_HEADER)
    if len(shape) != 1 or dtype.kind not in "iu":
        raise ValueError("an array of another form")
    values = content.read()
    if not values or len(values) != shape[0] * dtype.itemsize:
        raise ValueError("an array of another length")
    array = np.frombuffer(values, dtype)
    if array.min() < 0 or array.max() >= below:
        raise ValueError("a number out of range")
    return array
