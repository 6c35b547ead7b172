"""Check the free space of disks, and the permission to write to them."""

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from mnist_ops import data, tracking
from mnist_ops.core import atomic_files, paths
from mnist_ops.core.errors import NotWritable
from mnist_ops.ops.doctor.context import Context
from mnist_ops.ops.doctor.issue import Examination, Issue, note, size
from mnist_ops.tracking.database import sqlite_path

_SUBJECT = "disk"
# A worker's checkpoint of the largest network is 0.3 GB, written beside the one that it replaces;
# the data sets are 0.1 GB.
LITTLE_BYTES = 2 * 2**30


def check_disk(context: Context) -> Examination:
    """Check the disks of the state folder, the store and the data sets."""
    store = sqlite_path(context.uri)
    written = {"state": paths.state_dir(), "data": context.data_dir or data.default_data_dir()}
    written |= {"store": store.parent} if store else {}
    issues = list(_forbidden(context))
    if issues:
        # A read-only file system has no free bytes, but is not full.
        return Examination(_SUBJECT, "", tuple(issues))
    least = None
    for disk, (what, free) in _free(written).items():
        least = free if least is None else min(least, free)
        if free < atomic_files.RESERVE_BYTES:
            issues.append(
                Issue(
                    "disk-full",
                    f"the disk of {what} is full ({size(free)} free at {disk}): nothing more is "
                    "written",
                    "make room; the same command resumes what was interrupted",
                )
            )
        elif free < LITTLE_BYTES:
            issues.append(
                note(
                    "disk-little",
                    f"little room for {what}: {size(free)} free at {disk}",
                    f"a grid with several workers needs about {size(LITTLE_BYTES)}",
                )
            )
    return Examination(_SUBJECT, f"{size(least or 0)} free", tuple(issues))


def _forbidden(context: Context) -> Iterator[Issue]:
    """Yield an issue for each folder or file that must be writable and is not."""
    for check in (paths.check, partial(tracking.check_writable, context.uri)):
        try:
            check()
        except NotWritable as error:
            what, words, cure = str(error).partition(" cannot be written: ")
            yield Issue("not-writable", f"{what}{words.rstrip(': ')}", cure)


def _free(written: dict[str, Path]) -> dict[Path, tuple[str, int]]:
    """Return for a folder on each disk what is on that disk, and its free bytes."""
    found: dict[int, tuple[Path, list[str]]] = {}
    for what, folder in written.items():
        there = next(
            p for p in (folder.expanduser().absolute(), *folder.absolute().parents) if p.exists()
        )
        found.setdefault(there.stat().st_dev, (there, []))[1].append(what)
    return {
        folder: (" and ".join(names), shutil.disk_usage(folder).free)
        for folder, names in found.values()
    }
