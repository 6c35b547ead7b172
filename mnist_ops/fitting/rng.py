"""torch's global random numbers, which all threads of a process share: one thread at a time.

Weights are drawn from them, and so is what a layer such as dropout draws while it trains. Two
threads that both seeded them would each get numbers of the other's.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

_taken = threading.RLock()


@contextmanager
def left_as_they_are(device: torch.device) -> Iterator[None]:
    """What is drawn in the ``with`` block is not missing afterwards; other threads wait.

    Args:
        device: whose random numbers, beside the CPU's.
    """
    devices = [torch.cuda.current_device()] if device.type == "cuda" else []
    with _taken, torch.random.fork_rng(devices=devices):
        yield


@contextmanager
def drawn_from(seed: int, device: torch.device) -> Iterator[None]:
    """Draw from `seed` in the ``with`` block, then go on as before it; other threads wait."""
    with left_as_they_are(device):
        # Not torch.manual_seed(), which seeds every device, also those that are not restored.
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            torch.cuda.manual_seed(seed)
        yield


def state(device: torch.device) -> dict[str, Tensor]:
    """What the next random numbers of the CPU and of `device` follow from."""
    found = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        found["cuda"] = torch.cuda.get_rng_state(device)
    return found


def set_state(device: torch.device, wanted: dict[str, Tensor]) -> None:
    """Go on from a `state` of the same kind of device."""
    torch.set_rng_state(wanted["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(wanted["cuda"], device)
