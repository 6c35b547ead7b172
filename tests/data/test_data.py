"""The data directory: what is refused, fetched, put in place, read and split."""

import gzip
import hashlib
import multiprocessing
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
import torch
import torchvision.datasets
from data_fixtures import fixture_images, fixture_info, flip_byte, gzip_files, nothing_staged

from mnist_ops.core.errors import DataUnavailable, InvalidInput
from mnist_ops.data import (
    default_data_dir,
    ensure,
    load,
    status,
)
from mnist_ops.data.catalog import DATASETS
from mnist_ops.data.sources import Log, Source
from mnist_ops.study.dataset import Dataset

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = DATASETS["MNIST"].files


def fixture_source(asked: list[str]) -> Source:
    """A source that gives the small files and notes in `asked` which ones were wanted of it."""

    def fetch(
        info: Dataset, wanted: Sequence[str], work: Path, log: Log
    ) -> Iterator[tuple[str, Path]]:
        asked.extend(wanted)
        yield from ((file, gzip_files(info.name)[file]) for file in wanted)

    return Source("the fixtures", frozenset({"MNIST"}), fetch)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


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
    # Forks: what is imported here takes a new process seconds.
    context = multiprocessing.get_context("fork")
    arguments = (tmp_path / "data", context.Barrier(2), tmp_path / "log")
    children = [context.Process(target=_ensure_in_child, args=arguments) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0]
    assert (tmp_path / "log").read_text() == "fetched\n"
    assert status("MNIST", tmp_path / "data").intact


# Load


def test_load_pools_train_then_test_and_reads_once(folder: Path, tmp_path: Path) -> None:
    images = load("MNIST", tmp_path)
    expected = fixture_images("MNIST")
    assert images.images.dtype == np.uint8
    assert images.labels.dtype == np.int64
    assert images.images.shape == (600, 28, 28)
    assert np.array_equal(images.images, expected.images)
    assert np.array_equal(images.labels, expected.labels)
    assert np.bincount(images.labels[:400]).tolist() == [40] * 10
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


# Catalog


def test_classes_are_named_as_torchvision_names_them() -> None:
    assert DATASETS["FashionMNIST"].class_names == tuple(torchvision.datasets.FashionMNIST.classes)
    assert DATASETS["MNIST"].n_classes == len(torchvision.datasets.MNIST.classes)
