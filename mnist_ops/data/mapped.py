"""Pixels that the processes of a machine share: one file in the cache, which each of them maps.

A worker a core would otherwise hold a copy of every data set each. The pages of a mapped file are
in memory once, however many processes look at them.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

from mnist_ops.core import atomic_files

Array = NDArray[np.uint8]

logger = logging.getLogger(__name__)


def mapped(parts: Sequence[Array], name: str) -> Array:
    """`parts`, one after the other, mapped from a file of the cache; it is written where need be.

    Args:
        parts: uint8, contiguous, of shapes that differ in the first size only.
        name: of the file: stands for the content.

    Returns:
        The parts as one array; in memory of this process alone where there is no room for a file,
        or no right to write one: sharing saves memory, and no more.
    """
    path = user_cache_path("mnist-ops") / "pixels" / name
    try:
        if not _holds(path, parts):
            _write(path, parts)
        return _map(path, parts)
    except (OSError, ValueError) as error:
        logger.info("pixels are not shared between processes: %s", error)
        return np.concatenate(parts)


def _holds(path: Path, parts: Sequence[Array]) -> bool:
    """Return whether the file has the values of `parts`; its name alone is never trusted."""
    if not path.is_file() or path.stat().st_size != sum(part.size for part in parts):
        return False
    ends = np.cumsum([len(part) for part in parts])[:-1]
    found = np.split(_map(path, parts), ends)
    return all(np.array_equal(*pair) for pair in zip(found, parts, strict=True))


def _map(path: Path, parts: Sequence[Array]) -> Array:
    # Not shared for writing: who writes into the array gets pages of their own.
    shape = (sum(map(len, parts)), *parts[0].shape[1:])
    return np.memmap(path, np.uint8, mode="c", shape=shape)


def _write(path: Path, parts: Sequence[Array]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Put in place in one piece: other processes may be writing it too, or mapping the old one.
    with atomic_files.work_folder(path.parent) as folder:
        fresh = folder / path.name
        with fresh.open("wb") as file:
            for part in parts:
                file.write(part.data)
        fresh.replace(path)
