"""The record of the changes of ``--fix``: a file of the state folder.

Every change is written before it is made, so interrupted changes can be undone as well.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from filelock import FileLock, Timeout

from mnist_ops.core import atomic_files, paths
from mnist_ops.core.errors import MnistOpsError
from mnist_ops.ops.doctor.changes import KINDS

RECORD = "fixes.jsonl"


@contextlib.contextmanager
def exclusive_fix() -> Iterator[None]:
    """Keep other processes of this machine from fixing and undoing."""
    path = paths.state_dir() / f"{RECORD}.lock"
    atomic_files.private_folder(path.parent)
    try:
        with FileLock(path, timeout=0):
            yield
    except Timeout:
        raise MnistOpsError(
            "another `mnist-ops doctor` is fixing or undoing: wait until it has ended"
        ) from None


def read() -> list[dict[str, Any]]:
    """Return the entries of the record; incomplete and invalid lines are left out."""
    path = paths.state_dir() / RECORD
    entries = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        with contextlib.suppress(ValueError, RecursionError):
            entry = json.loads(line)
            if _is_entry(entry):
                entries.append(entry)
    return entries


def _is_entry(entry: Any) -> bool:
    """Return whether `entry` has the form of an entry of the record."""
    texts = {"fix": ("time",), "did": ("text",), "change": ("type",), "undone": ()}
    if not isinstance(entry, dict) or entry.get("kind") not in tuple(texts):
        return False
    if not all(isinstance(entry.get(name), str) for name in ("fix", *texts[entry["kind"]])):
        return False
    if entry["kind"] != "change":
        return True
    kind, values = KINDS.get(entry["type"]), entry.get("fields")
    return (
        kind is not None
        and isinstance(values, dict)
        and values.keys() == {field.name for field in fields(kind)}
        and all(value is None or isinstance(value, str | int) for value in values.values())
    )


def append(kind: str, **fields: Any) -> None:
    """Write an entry, on disk when this returns.

    Raises:
        DiskFull: there is no room.
        NotWritable: the record cannot be written.
    """
    path = paths.state_dir() / RECORD
    with atomic_files.write_errors(path):
        path.touch(0o600)
    with atomic_files.write_errors(path), path.open("ab") as file:
        # On a new line, as the last one may be incomplete.
        file.write(b"\n" + json.dumps({"kind": kind, **fields}).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
