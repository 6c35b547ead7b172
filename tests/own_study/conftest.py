"""A study of a user's own, in a file."""

import shutil
from pathlib import Path

import pytest
import shapes_study

from mnist_ops.study import lookup


@pytest.fixture
def file(small_data: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's file, in the folder of the store, and nothing known of it yet."""
    monkeypatch.setattr(lookup, "registered", {})
    path = home / "my_study.py"
    shutil.copy(shapes_study.__file__, path)
    return path
