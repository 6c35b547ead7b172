"""torch's global random number generators, which all threads of a process share.

Weights are drawn from them, and so is what a layer such as dropout draws while it trains. Two
threads that both seeded them would each get numbers of the other's, so one at a time uses them.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

_taken = threading.RLock()


@contextmanager
def preserved(device: torch.device) -> Iterator[None]:
    """Restore the generators after the ``with`` block; other threads wait.

    Args:
        device: whose random numbers, beside the CPU's.
    """
    devices = [torch.cuda.current_device()] if device.type == "cuda" else []
    with _taken, torch.random.fork_rng(devices=devices):
        yield


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the generators for the ``with`` block, then restore them; other threads wait."""
    with preserved(device):
        # Not torch.manual_seed(), which seeds every device, also those that are not restored.
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            torch.cuda.manual_seed(seed)
        yield


def state(device: torch.device) -> dict[str, Tensor]:
    """Return the states of the generators of the CPU and of `device`."""
    found = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        found["cuda"] = torch.cuda.get_rng_state(device)
    return found


def set_state(device: torch.device, wanted: dict[str, Tensor]) -> None:
    """Set the generators to a `state` of the same kind of device."""
    torch.set_rng_state(wanted["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(wanted["cuda"], device)
