"""The digest of a function changes with what it computes, and no sooner."""

from pathlib import Path

import pytest

from mnist_ops.study import lookup, source

FILE = '''
"""A docstring."""
import math
import helper

SCALE = 2
OTHER = 3

def used(x):
    return SCALE * x

class Unused:
    pass

def model(x, y=1):
    # A comment.
    return used(x) + math.pi + helper.more()
'''


def digest(folder: Path, text: str, more: str = "def more(): return 1") -> str:
    (folder / "helper.py").write_text(more)
    (folder / "study.py").write_text(text)
    return source.digest(lookup.load(f"{folder}/study.py:model"))


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("# A comment.", "# Another.", True),
        ("A docstring", "Another", True),
        ("OTHER = 3", "OTHER = 4", True),
        ("class Unused:\n    pass\n", "", True),
        ("SCALE = 2", "SCALE = 4", False),
        ("SCALE * x", "SCALE / x", False),
        ("y=1", "y=2", False),
        ("import math", "import cmath as math", False),
        ("OTHER = 3", "print(1)", False),
    ],
)
def test_what_counts(tmp_path: Path, old: str, new: str, same: bool) -> None:
    assert old in FILE
    first = digest(tmp_path, FILE)
    assert (digest(tmp_path, FILE.replace(old, new)) == first) is same


def test_files_beside_count(tmp_path: Path) -> None:
    changed = digest(tmp_path, FILE, "def more(): return 2")
    assert changed != digest(tmp_path, FILE)
