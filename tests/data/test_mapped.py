"""Pixels that processes share: the file of the cache, and what happens where there can be none."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from data_fixtures import fixture_images
from numpy.typing import NDArray

from mnist_ops.data.mapped import mapped


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the shared pixels of this test."""
    folder = tmp_path / "pixels"
    monkeypatch.setattr("mnist_ops.data.mapped.user_cache_path", lambda name: tmp_path)
    return folder


@pytest.fixture
def parts() -> list[NDArray[np.uint8]]:
    images = fixture_images("MNIST")
    return [images.images[: images.n_train], images.images[images.n_train :]]


def files_behind(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()


linux = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads Linux's /proc")


def test_the_parts_come_back_one_after_the_other(
    cache: Path, parts: list[NDArray[np.uint8]]
) -> None:
    pixels = mapped(parts, "digits")
    assert np.array_equal(pixels, np.concatenate(parts))
    assert [file.name for file in cache.iterdir()] == ["digits"]


@linux
def test_they_are_the_file_and_not_a_copy(cache: Path, parts: list[NDArray[np.uint8]]) -> None:
    pixels = mapped(parts, "digits")
    assert str(cache / "digits") in files_behind(os.getpid())
    del pixels


@linux
def test_another_process_maps_the_same_file(cache: Path, parts: list[NDArray[np.uint8]]) -> None:
    mapped(parts, "digits")
    written = (cache / "digits").stat()
    code = """
import pathlib, sys
import numpy as np
from mnist_ops.data import mapped
mapped.user_cache_path = lambda name: pathlib.Path(sys.argv[1])
parts = list(np.load(sys.argv[2]).values())
pixels = mapped.mapped(parts, "digits")
print(int(pixels.sum()), "/digits" in pathlib.Path("/proc/self/maps").read_text())
"""
    np.savez(cache / "parts.npz", *parts)
    said = subprocess.run(
        [sys.executable, "-c", code, str(cache.parent), str(cache / "parts.npz")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.split() == [str(int(np.concatenate(parts).sum())), "True"]
    assert (cache / "digits").stat().st_ino == written.st_ino


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content[:-1],
        lambda content: content + b"\0",
        lambda content: bytes([content[0] ^ 1]) + content[1:],
        lambda content: b"",
    ],
    ids=["truncated", "longer", "altered", "empty"],
)
def test_a_spoiled_file_is_written_again(
    cache: Path, parts: list[NDArray[np.uint8]], spoil: object
) -> None:
    mapped(parts, "digits")
    whole = (cache / "digits").read_bytes()
    (cache / "digits").write_bytes(spoil(whole))  # type: ignore[operator]
    assert np.array_equal(mapped(parts, "digits"), np.concatenate(parts))
    assert (cache / "digits").read_bytes() == whole


def test_without_a_place_for_the_file_the_pixels_are_in_memory(
    tmp_path: Path, parts: list[NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pixels").write_text("a file where the folder would be")
    monkeypatch.setattr("mnist_ops.data.mapped.user_cache_path", lambda name: tmp_path)
    assert np.array_equal(mapped(parts, "digits"), np.concatenate(parts))


def test_writing_into_the_array_does_not_reach_the_file(
    cache: Path, parts: list[NDArray[np.uint8]]
) -> None:
    pixels = mapped(parts, "digits")
    before = (cache / "digits").read_bytes()
    pixels[0] = 7
    assert (cache / "digits").read_bytes() == before
