"""Write what must outlast a crash: whole or not at all, and with a full disk told as one."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mnist_ops.errors import DiskFull

# Left free for what others write beside us, a tracking store among them.
RESERVE_BYTES = 64 * 2**20

# The disk's end, a user's quota, a process's limit on the size of a file.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def replace(path: Path, *parts: bytes | memoryview) -> None:
    """Make `parts`, one after the other, the content of `path`, on disk when this returns.

    Whoever reads `path`, now or after a power cut, finds the old content or the new one.

    Raises:
        DiskFull: there is no room; the old content stays.
    """
    fresh = path.with_name(f".{path.name}.new")
    with telling_full_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        check_room(path.parent, sum(map(len, parts)))
        try:
            with fresh.open("wb") as file:
                file.writelines(parts)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have the names of `folder` on disk, not just the content behind them."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_room(folder: Path, needed: int) -> None:
    """Raise `DiskFull` unless `needed` bytes and a reserve are free where `folder` lies."""
    free = shutil.disk_usage(folder).free
    if free < needed + RESERVE_BYTES:
        raise DiskFull(
            f"the disk of {folder} is full ({free / 2**20:.0f} MiB free): make room, and the same "
            "command goes on"
        )


@contextmanager
def telling_full_disk(path: Path) -> Iterator[None]:
    """Turn the errors of a full disk, or of a quota, into `DiskFull`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DiskFull(
            f"{path} cannot be written ({error.strerror}): make room, and the same command goes on"
        ) from error
