"""Checkpoints of trainings: written atomically, and verified before they are used.

A file is one line of JSON, which names what the state belongs to and its SHA-256, and then the
state as `torch.save` writes it. It is read with ``weights_only``: a file cannot bring code along.
"""

import hashlib
import io
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mnist_ops.core import atomic_files
from mnist_ops.core.paths import SET_ASIDE

# Raised when the form of the file or of the state changes.
FORMAT = 2

DEFAULT_EVERY_S = 60.0
# An epoch's end is worth a checkpoint once this share of the time between two has passed.
_EPOCH_SHARE = 0.1
# The share of the time that saving may take, at the default; slower saves become rarer.
_SAVING_SHARE = 0.01


@dataclass
class Checkpoint:
    """The checkpoint of one training.

    Attributes:
        path: of the file.
        identity: what must be the same for the state to be of use: the training, the versions, the
            processor.
        every_s: seconds of work that may be lost; at an epoch's end a tenth of it is saved for.
        log: receives a line for the user.
    """

    path: Path
    identity: dict[str, str]
    every_s: float = DEFAULT_EVERY_S
    log: Callable[[str], None] = lambda line: None
    _saved_at: float = field(default_factory=time.monotonic, init=False)
    _cost_s: float = field(default=0.0, init=False)

    def due(self, *, epoch_ended: bool = False) -> bool:
        """Return whether it is time to save again."""
        since = time.monotonic() - self._saved_at
        cost = self._cost_s / (_SAVING_SHARE * DEFAULT_EVERY_S)
        return since >= self.every_s * max(_EPOCH_SHARE if epoch_ended else 1, cost)

    def save(self, state: dict[str, Any]) -> None:
        """Replace the file by one with `state`: tensors, numbers and text, nested in dictionaries.

        Raises:
            DiskFull: there is no room; the file that was there stays.
        """
        # Where nothing is saved, as by short fits, it need not be imported, which takes seconds.
        import torch

        began = time.monotonic()
        buffer = io.BytesIO()
        torch.save({"identity": self.identity, "state": state}, buffer)
        # Not a copy: beside a training there is little room.
        content = buffer.getbuffer()
        header = {
            "format": FORMAT,
            "identity": self.identity,
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        atomic_files.replace(self.path, json.dumps(header).encode() + b"\n", content)
        self._saved_at = time.monotonic()
        self._cost_s = self._saved_at - began

    def load(self, check: Callable[[Any], None] = lambda state: None) -> dict[str, Any] | None:
        """Return the state that was saved; None where there is none, or none of this training.

        A file that is damaged, or of another training, is set aside with a line.

        Args:
            check: raises `NotUsable`, or whatever else, where it is no state of this training.
        """
        if not os.path.lexists(self.path):
            return None
        try:
            state = self._parse()
            check(state)
        except Exception as error:
            # A file of the right digest can still hold anything, and fail in any way.
            problem = str(error) if isinstance(error, NotUsable) else _unreadable(error)
            aside = self.path.with_name(self.path.name + SET_ASIDE)
            if aside.is_dir():
                aside = aside.with_name(f"{aside.name}-{time.time_ns()}")
            self.path.replace(aside)
            self.log(f"checkpoint set aside ({problem}): its training starts again; {aside}")
            return None
        self._saved_at = time.monotonic()
        return state

    def discard(self) -> None:
        """Remove the file: its training is over."""
        self.path.unlink(missing_ok=True)

    def _parse(self) -> dict[str, Any]:
        if not self.path.is_file():
            raise NotUsable("it is no file")
        head, _, body = self.path.read_bytes().partition(b"\n")
        try:
            header = json.loads(head)
            found = header["format"], header["identity"], header["sha256"]
        except (ValueError, KeyError, TypeError):
            raise NotUsable("its head is damaged") from None
        if found[0] != FORMAT:
            raise NotUsable(f"it has format {found[0]!r}, this version reads {FORMAT}")
        if found[2] != hashlib.sha256(body).hexdigest():
            raise NotUsable("it is damaged")
        if found[1] != self.identity:
            raise NotUsable("it is of another training, processor or version")
        import torch

        found = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
        # Under a head that was changed, with the digest that belongs to it.
        if found["identity"] != self.identity:
            raise NotUsable("it is of another training, processor or version")
        state: dict[str, Any] = found["state"]
        return state


class NotUsable(Exception):
    """A checkpoint that cannot be used, and why."""


def _unreadable(error: Exception) -> str:
    return f"it cannot be read: {type(error).__name__}"
