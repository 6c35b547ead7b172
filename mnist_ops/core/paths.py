"""Folders of this machine's state: journals of runs that are not uploaded, and checkpoints."""

import contextlib
import os
from pathlib import Path

from platformdirs import user_state_path

from mnist_ops.core import atomic_files
from mnist_ops.core.errors import DiskFull, NotWritable

# The file that notes where the store is.
ADDRESS = "address"


def state_dir() -> Path:
    """``MNIST_OPS_STATE`` if set, else the user's state folder of mnist-ops."""
    chosen = os.environ.get("MNIST_OPS_STATE")
    return Path(chosen).expanduser().absolute() if chosen else user_state_path("mnist-ops")


def check(store: str | None = None) -> None:
    """Raise `NotWritable` unless the folder of all this, or of one store, can be written.

    That of a store, with journals and perhaps an address that signs in, is its owner's alone from
    now on.
    """
    folders = [state_dir()]
    if store is not None:
        folders = [journals_dir(store), checkpoint_path(store, "").parent]
    for folder in folders:
        atomic_files.check_writable(
            folder, "choose another folder with MNIST_OPS_STATE", folder=True
        )
    if store is not None:
        atomic_files.tighten(store_dir(store))


def store_dir(store: str) -> Path:
    """The folder of what belongs to the tracking store that has the id `store`."""
    return state_dir() / store


def journals_dir(store: str) -> Path:
    """The journals of runs of a store, a folder each."""
    return store_dir(store) / "journals"


def checkpoint_path(store: str, training: str) -> Path:
    """The checkpoint of a training whose runs go to a store."""
    return store_dir(store) / "checkpoints" / f"{training}.checkpoint"


def note_address(store: str, uri: str) -> None:
    """Note at which `uri` a store was last reached: a folder's name alone does not find it."""
    if address_of(store) != uri:
        # What is kept does not depend on it.
        with contextlib.suppress(DiskFull, NotWritable, OSError):
            atomic_files.replace(store_dir(store) / ADDRESS, uri.encode())


def address_of(store: str) -> str | None:
    """Where a store was last reached; None where that was not noted."""
    try:
        text = (store_dir(store) / ADDRESS).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    return text if text.isprintable() else None
