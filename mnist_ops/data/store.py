"""The data directory: what lies in it, and how missing or corrupt files get there, verified."""

import gzip
import hashlib
import json
import logging
import os
import shutil
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from filelock import FileLock, Timeout
from platformdirs import user_cache_dir

from mnist_ops.core import atomic_files
from mnist_ops.core.errors import DataUnavailable, InvalidInput
from mnist_ops.data.sources import SOURCES, Log, Source, SourceFailed, folder_source
from mnist_ops.study import dataset
from mnist_ops.study.dataset import Dataset

ON_DISK = "found on disk"
OF_A_STUDY = "of a study"
RECORD = "source.json"
STAGING = ".staging-"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FileStatus:
    """One file of a data set as it lies on disk.

    Attributes:
        name: File name.
        path: Where it is, or should be.
        state: "corrupt" is also a file that cannot be read.
        md5_found: 32 hexadecimal digits; None where there was nothing to read.
        md5_expected: 32 hexadecimal digits.
    """

    name: str
    path: Path
    state: Literal["intact", "missing", "corrupt"]
    md5_found: str | None
    md5_expected: str


@dataclass(frozen=True)
class DatasetStatus:
    """A data set as it lies on disk.

    Attributes:
        name: Name of the data set.
        folder: The folder of its files.
        files: State of each of its four files.
        source: Where the files came from, or "found on disk" for those not fetched by us.
        digest: 16 hexadecimal digits that stand for the content of the intact files.
    """

    name: str
    folder: Path
    files: tuple[FileStatus, ...]
    source: str
    digest: str

    @property
    def intact(self) -> bool:
        """Return whether all files exist with the expected digests."""
        return all(file.state == "intact" for file in self.files)


def default_data_dir() -> Path:
    """Return the data directory: `MNIST_OPS_DATA` if set, else `data` in the user's cache."""
    chosen = os.environ.get("MNIST_OPS_DATA")
    return Path(chosen) if chosen else Path(user_cache_dir("mnist-ops")) / "data"


def absolute(data_dir: Path | None) -> Path:
    """Return the absolute path of `data_dir`, or of the default one."""
    return (data_dir or default_data_dir()).expanduser().absolute()


def status(name: str, data_dir: Path | None = None) -> DatasetStatus:
    """Read the files of a data set and compare their digests with the expected ones.

    Args:
        name: Name of the data set.
        data_dir: The data directory, by default `default_data_dir()`.

    Raises:
        InvalidInput: There is no data set of that name.
    """
    info = dataset.named(name)
    if info.content is not None:
        return DatasetStatus(name, Path(), (), OF_A_STUDY, info.digest)
    folder = info.folder(absolute(data_dir))
    files = tuple(_file_status(folder / file, md5) for file, md5 in info.files.items())
    return DatasetStatus(name, folder, files, _source(folder, info), info.digest)


def _file_status(path: Path, expected: str) -> FileStatus:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, _md5).hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        return FileStatus(path.name, path, "missing", None, expected)
    except OSError:
        return FileStatus(path.name, path, "corrupt", None, expected)
    state: Literal["intact", "corrupt"] = "intact" if found == expected else "corrupt"
    return FileStatus(path.name, path, state, found, expected)


def _md5() -> "hashlib._Hash":
    return hashlib.md5(usedforsecurity=False)


def _source(folder: Path, info: Dataset) -> str:
    record = _read_record(folder)
    return ", ".join(sorted({record.get(file, ON_DISK) for file in info.files}))


def _read_record(folder: Path) -> dict[str, str]:
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(k): str(v) for k, v in record.items()} if isinstance(record, dict) else {}


def ensure(
    name: str,
    data_dir: Path | None = None,
    log: Log = logger.info,
    *,
    sources: Sequence[Source] = SOURCES,
) -> DatasetStatus:
    """Make all files of a data set present and intact.

    Files that are intact stay as they are, and if all are, nothing is written. The others are
    fetched, verified, and put in place one by one, each atomically. Of several processes that
    ask at once, one fetches.

    Args:
        name: Name of the data set.
        data_dir: The data directory, by default `default_data_dir()`.
        log: Gets one line for each fact: a source served or failed, a file was refused.
        sources: Where to look, in order, after the data directory itself.

    Raises:
        DataUnavailable: No source gave all files; the message has a line for each source, and
            ends with where to put the files by hand.
        InvalidInput: No data set has that name, or the data directory cannot be written.
    """
    info = dataset.named(name)
    root = absolute(data_dir)
    found = status(name, root)
    if info.content is not None:
        channels, height, width = info.image_shape
        log(
            f"{name}: {len(info.content.labels):,} images of {height}x{width} in {info.n_classes} "
            f"classes, {channels} channel{'' if channels == 1 else 's'}"
        )
        return found
    if not found.intact:
        with _writing(info, root, log):
            # Another process may have fetched them while this one waited.
            found = status(name, root)
            if not found.intact:
                _fetch(info, found, (folder_source(root), *sources), log)
                found = status(name, root)
    log(f"{name}: intact in {found.folder} ({found.source})")
    return found


@contextmanager
def _writing(info: Dataset, root: Path, log: Log) -> Iterator[None]:
    lock = FileLock(root / f".{info.name}.lock")
    try:
        info.folder(root).mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log(f"{info.name}: another process is fetching it, waiting")
            lock.acquire()
    except OSError as error:
        raise _not_written(root, error) from None
    try:
        yield
    finally:
        lock.release()


def _not_written(folder: Path, error: OSError) -> InvalidInput:
    return InvalidInput(
        f"data directory {folder} cannot be written ({error.strerror or error}): "
        f"{atomic_files.advice(error)}, with --data-dir or MNIST_OPS_DATA"
    )


def _fetch(info: Dataset, found: DatasetStatus, sources: Sequence[Source], log: Log) -> None:
    needed = [file.name for file in found.files if file.state != "intact"]
    for file in found.files:
        if file.state == "corrupt":
            log(_refusal(info, file.path, file.md5_found))
    for left_by_a_killed_process in found.folder.glob(f"{STAGING}*"):
        shutil.rmtree(left_by_a_killed_process, ignore_errors=True)
    failures = []
    with _staging(found.folder) as staging:
        for source in sources:
            if needed and info.name in source.serves:
                failure = _take(info, needed, source, found.folder, staging, log)
                if failure is not None:
                    failures.append(f"  {source.title}: {failure}")
    if not needed:
        # Only now: where every source fails, the error itself lists them.
        for failure in failures:
            log(f"{info.name}: passed over{failure[1:]}")
    else:
        names = ", ".join(needed)
        raise DataUnavailable(
            "\n".join(
                [
                    f"{info.name}: no source gives {names}",
                    *failures,
                    f"Put {names} (or .gz) into {found.folder} by hand.",
                ]
            )
        )


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    try:
        # Beside the files: a rename is atomic only within one file system.
        made = TemporaryDirectory(prefix=STAGING, dir=folder, ignore_cleanup_errors=True)
    except OSError as error:
        raise _not_written(folder, error) from None
    with made as staging:
        yield Path(staging)


def _take(
    info: Dataset, needed: list[str], source: Source, folder: Path, staging: Path, log: Log
) -> str | None:
    """Put what `source` gives in place, strike it off `needed`; the reason if any is left."""
    reason = "gave no intact copy"
    try:
        with TemporaryDirectory(dir=staging, ignore_cleanup_errors=True) as work:
            for file, copy in source.fetch(info, tuple(needed), Path(work), log):
                if file not in needed:
                    continue
                staged = staging / file
                try:
                    md5 = _unpack(copy, staged)
                except (OSError, EOFError, zlib.error) as error:
                    reason = f"{copy.name} cannot be unpacked: {error}"
                    log(f"{info.name}: refused {copy}: {error}")
                    continue
                if md5 != info.files[file]:
                    reason = f"{copy.name} has MD5 {md5} unpacked, expected {info.files[file]}"
                    log(_refusal(info, copy, md5, file))
                    continue
                _put_in_place(staged, folder / file)
                _record(staging, folder, file, source.title)
                needed.remove(file)
                log(f"{info.name}: {file} from {source.title}")
    except SourceFailed as failure:
        reason = str(failure)
    except OSError as error:
        reason = str(error)
    return reason if needed else None


def _refusal(info: Dataset, path: Path, md5: str | None, file: str | None = None) -> str:
    expected = info.files[file or path.name]
    return f"{info.name}: refused {path}: MD5 {md5 or 'unreadable'}, expected {expected}"


def _unpack(copy: Path, target: Path) -> str:
    """Write the content of a plain or gzip file to `target`, on disk for certain; its MD5."""
    with (
        gzip.open(copy) if copy.suffix == ".gz" else copy.open("rb") as content,
        target.open("wb") as out,
    ):
        shutil.copyfileobj(content, out, 1 << 20)
        out.flush()
        os.fsync(out.fileno())
    with target.open("rb") as written:
        return hashlib.file_digest(written, _md5).hexdigest()


def _put_in_place(staged: Path, target: Path) -> None:
    try:
        staged.replace(target)
    except OSError as error:
        # No other source could do better.
        raise DataUnavailable(f"{target} cannot be written: {error}") from None


def _record(staging: Path, folder: Path, file: str, title: str) -> None:
    staged = staging / RECORD
    record = {**_read_record(folder), file: title}
    staged.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    _put_in_place(staged, folder / RECORD)
