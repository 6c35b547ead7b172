"""Journals, checkpoints and addresses are readable by their owner alone."""

from pathlib import Path

import pytest

from mnist_ops.core import atomic_files, paths


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_state_is_its_owners_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = tmp_path / "chosen"
    chosen.mkdir(0o755)
    monkeypatch.setenv("MNIST_OPS_STATE", str(chosen))
    paths.note_address("store", "https://me:secret@host")
    atomic_files.replace(paths.checkpoint_path("store", "training"), b"x")
    # A folder that the user chose stays as it is, and gives nothing away but what stores there are.
    assert mode(chosen) == 0o755
    assert mode(paths.store_dir("store")) == 0o700
    assert mode(paths.checkpoint_path("store", "training").parent) == 0o700


def test_what_an_older_version_left_open_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MNIST_OPS_STATE", str(tmp_path))
    paths.store_dir("store").mkdir(0o755)
    paths.check("store")
    assert mode(paths.store_dir("store")) == 0o700
