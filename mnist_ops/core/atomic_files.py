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

# Kept free for other writers on the same disk, such as the tracking store.
RESERVE_BYTES = 64 * 2**20

# Prefix of temporary folders; host and process id follow.
_WORK = ".mnist-ops-"

# Full disk, exceeded quota, or the process's limit on file sizes.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


def replace(path: Path, *parts: bytes | memoryview) -> None:
    """Replace the content of `path` by the concatenated `parts`, on disk when this returns.

    A reader finds either the old or the new content, also after a power cut.

    Raises:
        DiskFull: there is no room; the old content stays.
        NotWritable: there is no permission to write.
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
    """Create `folder` and its missing parents, accessible to their owner only."""
    # mkdir() gives the mode to the last folder only.
    for missing in [path for path in (folder, *folder.parents) if not path.exists()][::-1]:
        missing.mkdir(0o700, exist_ok=True)


@contextmanager
def private_files() -> Iterator[None]:
    """Create files and folders for their owner only while the block runs, children included."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def tighten(path: Path) -> None:
    """Remove the permissions of others on `path`, if it exists and this user may."""
    with suppress(OSError):
        mode = path.stat().st_mode
        if mode & 0o077:
            path.chmod(mode & ~0o077)


def sync_folder(folder: Path) -> None:
    """Flush the entries of `folder` to disk, as `fsync` of a file does not."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def work_folder(place: Path) -> Iterator[Path]:
    """Create a temporary folder in `place`, and remove those of killed processes.

    Raises:
        OSError: `place` cannot be written.
    """
    ours = f"{_WORK}{platform.node()}-"
    for stale in place.glob(f"{_WORK}*"):
        owner = stale.name.removeprefix(ours).partition("-")[0]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(stale, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{ours}{os.getpid()}-", dir=place) as folder:
        yield Path(folder)


def check_room(folder: Path, needed: int) -> None:
    """Raise `DiskFull` unless `needed` bytes and a reserve are free on the disk of `folder`."""
    free = shutil.disk_usage(folder).free
    if free < needed + RESERVE_BYTES:
        raise DiskFull(
            f"the disk of {folder} is full ({free / 2**20:.0f} MiB free): make room, and the same "
            "command continues"
        )


def check_writable(path: Path, instead: str = "", *, folder: bool = False) -> None:
    """Raise `NotWritable` unless `path` can be written or created.

    Args:
        path: a file or a folder.
        instead: an alternative for the message, such as choosing another folder.
        folder: whether `path` must be a folder.
    """
    there = next(p for p in (path, *path.absolute().parents) if os.path.lexists(p))
    if (folder or there != path) and not there.is_dir():
        why = f"{there} is not a folder: move it away"
    elif os.access(there, os.W_OK | (os.X_OK if there.is_dir() else 0)):
        return
    elif os.name == "posix" and os.statvfs(there).f_flag & os.ST_RDONLY:
        why = "its file system is mounted read-only: remount it writable"
    else:
        why = f"permission denied for {there}: grant yourself write permission"
    raise NotWritable(f"{path} cannot be written: {why}{instead and ', or '}{instead}")


def advice(error: OSError) -> str:
    """Return what to do about an error of writing."""
    if error.errno in _FULL:
        return "make room"
    if error.errno in _FORBIDDEN:
        return "grant yourself write permission, or choose another place"
    return "choose another place"


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Convert errors of a full disk, a quota or missing permissions.

    Raises:
        DiskFull: there is no room.
        NotWritable: there is no permission to write.
    """
    try:
        yield
    except OSError as error:
        message = f"{path} cannot be written ({error.strerror}): {advice(error)}"
        if error.errno in _FULL:
            raise DiskFull(f"{message}, and the same command continues") from error
        if error.errno in _FORBIDDEN:
            raise NotWritable(message) from error
        raise
