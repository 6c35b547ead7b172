"""Put finished files into a folder, all of them or none."""

import contextlib
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from mnist_ops.core import atomic_files
from mnist_ops.core.errors import MnistOpsError


class CannotWrite(MnistOpsError):
    """The report cannot be written to the folder that was asked for."""


def publish(files: Mapping[str, bytes], out: Path) -> list[Path]:
    """Write `files` into `out`: each whole, and all of them or none.

    They are first written to a temporary folder inside `out`, where a full disk or a read-only
    folder shows, then moved into place; should a move fail, what was there is put back. Other
    files in `out` are left alone.

    Args:
        files: path below `out`, with slashes -> content.
        out: the folder; made where it does not exist, with the folders above it.

    Returns:
        The files' paths, in the order of `files`.

    Raises:
        CannotWrite: the folder cannot be made or written to, or a file would lie outside it, be it
            by a link; `out` is as it was.
    """
    _check_inside(files, out)
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        with atomic_files.work_folder(out) as temporary:
            fresh, old = temporary / "new", temporary / "old"
            for name, content in files.items():
                _write(fresh / name, content)
            _move(list(files), fresh, out, old)
    except OSError as error:
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        # mkdir() on a path that is a file says no more than that it exists.
        reason = "it is not a folder" if out.is_file() else error.strerror or str(error)
        raise CannotWrite(
            f"cannot write the report to {out}: {reason}; {atomic_files.advice(error)}"
        ) from error
    return [out / name for name in files]


def _check_inside(names: Iterable[str], out: Path) -> None:
    """Refuse names, and links in `out`, that lead out of it."""
    folder = out.resolve()
    for name in names:
        if not (out / name).parent.resolve().is_relative_to(folder):
            raise CannotWrite(
                f"cannot write the report to {out}: {name} would lie outside of it; remove the "
                "link, or name another folder"
            )


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        # A disk may tell only now that it is full.
        os.fsync(file.fileno())


def _move(names: list[str], fresh: Path, out: Path, old: Path) -> None:
    """Move `names` from `fresh` to `out`, keeping what they replace in `old` until all are in."""
    moved: list[str] = []
    folders: list[Path] = []
    try:
        for name in names:
            target, kept = out / name, old / name
            if not target.parent.exists():
                target.parent.mkdir()
                folders.append(target.parent)
            if target.is_dir():
                raise IsADirectoryError(f"{target} is a folder")
            if target.exists():
                kept.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(target, kept)
            moved.append(name)
            (fresh / name).replace(target)
    except BaseException:
        for name in moved:
            if (old / name).exists():
                (old / name).replace(out / name)
            else:
                (out / name).unlink(missing_ok=True)
        for folder in reversed(folders):
            folder.rmdir()
        raise
