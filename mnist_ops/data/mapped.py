"""Pixels that the processes of a machine share: one file in the cache, which each of them maps.

A worker a core would otherwise hold a copy of every data set each. The pages of a mapped file are
in memory once, however many processes look at them.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from platformdirs import user_cache_path
from torch import Tensor

from mnist_ops.core import atomic_files

logger = logging.getLogger(__name__)


def mapped(parts: Sequence[Tensor], name: str) -> Tensor:
    """`parts`, one after the other, mapped from a file of the cache; it is written where need be.

    Args:
        parts: uint8, contiguous, of shapes that differ in the first size only.
        name: of the file: stands for the content.

    Returns:
        The parts as one tensor; in memory of this process alone where there is no room for a file,
        or no right to write one: sharing saves memory, and no more.
    """
    path = user_cache_path("mnist-ops") / "pixels" / name
    try:
        if not _holds(path, parts):
            _write(path, parts)
        return _map(path, parts)
    except (OSError, RuntimeError) as error:
        logger.info("pixels are not shared between processes: %s", error)
        return torch.cat(list(parts))


def _holds(path: Path, parts: Sequence[Tensor]) -> bool:
    """Return whether the file has the values of `parts`; its name alone is never trusted."""
    if not path.is_file() or path.stat().st_size != sum(part.numel() for part in parts):
        return False
    found = _map(path, parts).split([len(part) for part in parts])
    return all(torch.equal(*pair) for pair in zip(found, parts, strict=True))


def _map(path: Path, parts: Sequence[Tensor]) -> Tensor:
    # Not shared for writing: who writes into the tensor gets pages of their own.
    size = sum(part.numel() for part in parts)
    flat = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
    return flat.view(-1, *parts[0].shape[1:])


def _write(path: Path, parts: Sequence[Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Put in place in one piece: other processes may be writing it too, or mapping the old one.
    with atomic_files.work_folder(path.parent) as folder:
        fresh = folder / path.name
        with fresh.open("wb") as file:
            for part in parts:
                file.write(part.numpy().data)
        fresh.replace(path)
