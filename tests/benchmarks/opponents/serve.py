"""A process that trains in turns: as what, and for how long, it is told by lines of stdin.

    python serve.py tutorial --root FOLDER_OF_THE_DATA

A request is a line of JSON: ``training``, the fields of a `tutorial.Training` but for its folder;
``seconds``, the length of the turn; ``kernels``, whether oneDNN prints the kernels of this one
step. The answer is another: the steps, and the seconds that they took.
"""

import argparse
import ctypes
import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

WARM_UP_STEPS = 3


class OtherTraining(Exception):
    """The next turn is of another training."""


class Steps:
    """Called after each step of a training: counts, answers, and waits for the next turn."""

    def __init__(self) -> None:
        self.warm_up = WARM_UP_STEPS
        self.verbose = torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON)
        print(json.dumps({"torch": torch.__version__}), flush=True)
        self.request = self._next()

    def __call__(self) -> None:
        if self.warm_up:
            self.warm_up -= 1
            if not self.warm_up:
                self._begin()
            return
        self.count += 1
        seconds = time.perf_counter() - self.start
        if seconds < self.request["seconds"]:
            return
        if self.request.get("kernels"):
            self.verbose.__exit__(None, None, None)
            ctypes.CDLL(None).fflush(None)
        print(json.dumps({"steps": self.count, "seconds": seconds}), flush=True)
        before, self.request = self.request, self._next()
        if self.request["training"] != before["training"]:
            self.warm_up = WARM_UP_STEPS
            raise OtherTraining
        self._begin()

    def _begin(self) -> None:
        if self.request.get("kernels"):
            self.verbose.__enter__()
        self.count, self.start = 0, time.perf_counter()

    @staticmethod
    def _next() -> dict[str, Any]:
        line = sys.stdin.readline()
        return json.loads(line) if line else sys.exit()


def serve(train: Callable[..., None]) -> None:
    """Run `train` with the arguments of each request, until stdin ends."""
    steps = Steps()
    while True:
        try:
            train(**steps.request["training"], on_step=steps)
        except OtherTraining:
            # A network holds on to itself, and many processes share the memory.
            gc.collect()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("script", help="a module beside this one")
    parser.add_argument("--root", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--core", type=int, help="one thread, on this core")
    options = parser.parse_args()
    if options.core is not None:
        torch.set_num_threads(1)
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {options.core})
    # Found beside this file only where it is run as a script.
    from tutorial import Training

    script = importlib.import_module(options.script)

    def train(on_step: Steps, **training: Any) -> None:
        script.train(Training(options.root, **training), on_step)

    serve(train)


if __name__ == "__main__":
    main()
