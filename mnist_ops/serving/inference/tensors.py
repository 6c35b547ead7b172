"""Read and write named arrays as safetensors.

Loading a pickle runs code; a safetensors file has names, types, shapes and numbers only. They are
still untrusted, so `read` compares them with what is expected.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from mnist_ops.core.errors import MnistOpsError

Arrays = Mapping[str, NDArray[Any]]
# Largest file: five times that of the largest SVM of the studies.
MAX_BYTES = 2**30


class ModelRefused(MnistOpsError):
    """A model's file is damaged or invalid."""


def write(path: Path, arrays: Arrays) -> None:
    """Write `arrays` to `path`; the same arrays give the same bytes."""
    save_file({name: np.asarray(array, order="C") for name, array in arrays.items()}, path)


def read(path: Path, expected: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    """Read the arrays of a file.

    Args:
        path: of the file.
        expected: name of every array -> numpy's name of its type.

    Raises:
        ModelRefused: the file is missing, damaged, too large or of another format, an array is
            missing, unexpected or of another type, or a number is not finite.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ModelRefused(f"model file {path.name} is refused: it has more than 1 GiB")
        arrays: dict[str, NDArray[Any]] = load_file(path)
    except OSError as error:
        raise ModelRefused(f"model file {path} cannot be read: {error.strerror or error}") from None
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError, MemoryError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelRefused(
            f"model file {path.name} is refused: it is not a valid safetensors file ({reason})"
        ) from None
    if wrong := sorted(arrays.keys() ^ expected.keys()):
        raise ModelRefused(
            f"model file {path.name} is refused: {wrong[0]!r} is "
            + ("missing" if wrong[0] in expected else "not part of such a model")
        )
    for name, array in arrays.items():
        if array.dtype.name != expected[name]:
            raise ModelRefused(
                f"model file {path.name} is refused: {name!r} is {array.dtype.name}, "
                f"expected {expected[name]}"
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ModelRefused(
                f"model file {path.name} is refused: {name!r} has a number that is not finite"
            )
    return arrays


def shaped(path: Path, name: str, array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return `array` after checking its shape; -1 is any length.

    Raises:
        ModelRefused: it has another shape.
    """
    fits = len(array.shape) == len(shape) and all(
        want in (-1, have) for want, have in zip(shape, array.shape, strict=True)
    )
    if not fits:
        raise ModelRefused(
            f"model file {path.name} is refused: {name!r} has shape {array.shape}, expected {shape}"
        )
    return array
