"""Fixtures of small real files in a data directory."""

from pathlib import Path

import pytest
from data_fixtures import fixture_info, install_files

from mnist_ops.data.catalog import DATASETS
from mnist_ops.study.dataset import Dataset


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
