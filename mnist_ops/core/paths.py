"""Folders of this machine's state: journals of runs that are not uploaded, and checkpoints."""

import contextlib
import os
from pathlib import Path

from platformdirs import user_state_path

from mnist_ops.core import atomic_files
from mnist_ops.core.errors import DiskFull, NotWritable

# The file with the store's last known URI.
ADDRESS = "address"
# What names of checkpoints end with, and what is added to those that could not be used.
CHECKPOINT = ".checkpoint"
SET_ASIDE = ".set-aside"


def state_dir() -> Path:
    """Return ``MNIST_OPS_STATE`` if set, else the user's state folder of mnist-ops."""
    chosen = os.environ.get("MNIST_OPS_STATE")
    return Path(chosen).expanduser().absolute() if chosen else user_state_path("mnist-ops")


def check(store: str | None = None) -> None:
    """Raise `NotWritable` unless the state folder, or that of one store, can be written.

    The folder of a store may hold an address with credentials, so others lose access to it.
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
    """Return the state folder of the tracking store with the id `store`."""
    return state_dir() / store


def journals_dir(store: str) -> Path:
    """Return the folder of a store's journals, which has a folder for each run."""
    return store_dir(store) / "journals"


def checkpoint_path(store: str, training: str) -> Path:
    """Return the path of the checkpoint of a training for a store."""
    return store_dir(store) / "checkpoints" / f"{training}{CHECKPOINT}"


def note_address(store: str, uri: str) -> None:
    """Record the `uri` of a store, which its id alone does not tell."""
    if address_of(store) != uri:
        # Nothing else depends on this file.
        with contextlib.suppress(DiskFull, NotWritable, OSError):
            atomic_files.replace(store_dir(store) / ADDRESS, uri.encode())


def address_of(store: str) -> str | None:
    """Return the last recorded URI of a store; None without one."""
    try:
        text = (store_dir(store) / ADDRESS).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    return text if text.isprintable() else None
