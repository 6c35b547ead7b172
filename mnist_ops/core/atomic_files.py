"""Atomic, durable writes of files, and the errors of disks that cannot be written."""

import errno
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from mnist_ops.core.errors import DiskFull, NotWritable

# Left free for what others write beside us, a tracking store among them.
RESERVE_BYTES = 64 * 2**20

# Of folders for what is put in place when it is whole; host and process id follow.
_WORK = ".mnist-ops-"

# The disk's end, a user's quota, a process's limit on the size of a file.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


def replace(path: Path, *parts: bytes | memoryview) -> None:
    """Make `parts`, one after the other, the content of `path`, on disk when this returns.

    Whoever reads `path`, now or after a power cut, finds the old content or the new one.

    Raises:
        DiskFull: there is no room; the old content stays.
        NotWritable: there is no permission to.
    """
    fresh = path.with_name(f".{path.name}.new")
    with write_errors(path):
        private_folder(path.parent)
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


def private_folder(folder: Path) -> None:
    """Make `folder`, and those above it that are missing, for their owner alone."""
    # mkdir() gives the mode to the last folder only.
    for missing in [path for path in (folder, *folder.parents) if not path.exists()][::-1]:
        missing.mkdir(0o700, exist_ok=True)


@contextmanager
def private_files() -> Iterator[None]:
    """Have what this process and its children make while the block runs for their owner alone."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def tighten(path: Path) -> None:
    """Take `path` from everybody but its owner, where it is there and this user may."""
    with suppress(OSError):
        mode = path.stat().st_mode
        if mode & 0o077:
            path.chmod(mode & ~0o077)


def sync_folder(folder: Path) -> None:
    """Have the names of `folder` on disk, not just the content behind them."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def work_folder(place: Path) -> Iterator[Path]:
    """Make a folder in `place` for the length of the block; what killed processes left there goes.

    Raises:
        OSError: `place` cannot be written.
    """
    ours = f"{_WORK}{platform.node()}-"
    for left in place.glob(f"{_WORK}*"):
        owner = left.name.removeprefix(ours).partition("-")[0]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{ours}{os.getpid()}-", dir=place) as folder:
        yield Path(folder)


def check_room(folder: Path, needed: int) -> None:
    """Raise `DiskFull` unless `needed` bytes and a reserve are free where `folder` lies."""
    free = shutil.disk_usage(folder).free
    if free < needed + RESERVE_BYTES:
        raise DiskFull(
            f"the disk of {folder} is full ({free / 2**20:.0f} MiB free): make room, and the same "
            "command goes on"
        )


def check_writable(path: Path, instead: str = "", *, folder: bool = False) -> None:
    """Raise `NotWritable` unless `path` may be written, or made where it is not there yet.

    Args:
        path: a file or a folder.
        instead: what else the user can do, such as to choose another folder.
        folder: whether it is to be a folder.
    """
    there = next(p for p in (path, *path.absolute().parents) if os.path.lexists(p))
    if (folder or there != path) and not there.is_dir():
        why = f"{there} is no folder: move it away"
    elif os.access(there, os.W_OK | (os.X_OK if there.is_dir() else 0)):
        return
    elif os.name == "posix" and os.statvfs(there).f_flag & os.ST_RDONLY:
        why = "its file system is mounted read-only: mount it to be written"
    else:
        why = f"permission denied for {there}: give yourself the right to write there"
    raise NotWritable(f"{path} cannot be written: {why}{instead and ', or '}{instead}")


def advice(error: OSError) -> str:
    """Return what to do about `error`, which kept something from being written."""
    if error.errno in _FULL:
        return "make room"
    if error.errno in _FORBIDDEN:
        return "give yourself the right to write there, or name another place"
    return "name another place"


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn the errors of a full disk, a quota, or a missing permission into ours.

    Raises:
        DiskFull: there is no room.
        NotWritable: there is no permission to write.
    """
    try:
        yield
    except OSError as error:
        told = f"{path} cannot be written ({error.strerror}): {advice(error)}"
        if error.errno in _FULL:
            raise DiskFull(f"{told}, and the same command goes on") from error
        if error.errno in _FORBIDDEN:
            raise NotWritable(told) from error
        raise
