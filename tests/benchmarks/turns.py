"""Parts that benchmarks share: taking turns, ratios with their spread, the machine and the date.

Contestants stay up, each a few processes (`opponents.serve`), and train one after the other for a
second or so. A ratio is that of two neighbouring turns, which whatever else happens on the machine
meets both. Turns in which other programs took more than a tenth of a core are left out: threads
that wait for one another suffer from them many times as much as ours, which would flatter us. Where
fewer than three pairs remain, no ratio is given.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from mnist_ops.core import keys, onednn
from mnist_ops.runner.workers.local import usable_cores
from mnist_ops.tracking import provenance

OTHERS_CORES = 0.1
FEWEST_PAIRS = 3
SERVE = Path(__file__).parent / "opponents" / "serve.py"
# A user's setting of these would slow down an opponent that has several threads.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def machine() -> dict[str, object]:
    """When and on what figures are measured: date, processor, cores, versions, commit."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        **provenance.tags("cpu"),
        # Those of the machine may be more.
        f"{keys.HARDWARE}.cores": str(len(usable_cores())),
        "load": os.getloadavg()[0],
    }


def commit(checkout: Path | None) -> str | None:
    """The commit of a checkout; None without one."""
    if checkout is None:
        return None
    git = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()


def spread(values: Sequence[float]) -> dict[str, float] | None:
    """Median, range and number; None without any."""
    if not values:
        return None
    return {
        "median": statistics.median(values),
        "low": min(values),
        "high": max(values),
        "n": len(values),
    }


def in_turns(works: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[Any]]:
    """Call each of `works` in turns, every other time in reverse order; return their results."""
    found: dict[str, list[Any]] = {name: [] for name in works}
    for number in range(repeats):
        for name in list(works)[:: -1 if number % 2 else 1]:
            found[name].append(works[name]())
    return found


class Contestant:
    """Processes that train side by side, in turns."""

    def __init__(
        self, name: str, commands: list[list[str]], environment: dict[str, str], **about: object
    ):
        """Start the processes, without waiting for them.

        Args:
            name: of the contestant, as tables show it.
            commands: one a process, which speaks as `opponents.serve` says.
            environment: of the processes.
            about: what else is known of it, for the figures.
        """
        self.name, self.about = name, about
        self.processes = [
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
            )
            for command in commands
        ]
        self.torch = ""
        self.training: dict[str, Any] = {}

    @classmethod
    def opponent(
        cls, name: str, script: str, root: Path, python: str, *, a_core: bool
    ) -> "Contestant":
        """A script of `opponents` under a Python: with torch's own threads, or a process a core."""
        command = [python, str(SERVE), script, "--root", str(root)]
        commands = [[*command, "--core", str(n)] for n in usable_cores()] if a_core else [command]
        left_out = {"PYTHONPATH", *_THREADS}
        return cls(name, commands, {k: v for k, v in os.environ.items() if k not in left_out})

    def ready(self) -> None:
        """Wait until all its processes have imported what they need."""
        for process in self.processes:
            self.torch = _answer(process)["torch"]

    def prepare(self, training: dict[str, Any]) -> None:
        """Let it build a training and warm up, unless it has it already."""
        self.training = training
        self._ask(seconds=0)
        for process in self.processes:
            _answer(process)

    def turn(self, seconds: float) -> dict[str, float]:
        """Images a second of all, bytes of the largest, and cores that other programs took."""
        before, start = self._cpu(), time.perf_counter()
        self._ask(seconds=seconds)
        answers = [_answer(process) for process in self.processes]
        after, took = self._cpu(), time.perf_counter() - start
        steps = sum(answer["steps"] / answer["seconds"] for answer in answers)
        return {
            "images_per_second": steps * self.training["batch_size"],
            "memory": max(psutil.Process(p.pid).memory_info().rss for p in self.processes),
            "others": max(0.0, ((after[0] - before[0]) - (after[1] - before[1])) / took),
        }

    def kernels(self) -> dict[str, Any]:
        """Which kernels of oneDNN one step takes, as shares of the step's time, by one process."""
        self._ask(seconds=0, kernels=True)
        # The first process's; the others are as busy.
        (computed, step_s), *_ = [_kernels(process) for process in self.processes]
        times: Counter[str] = Counter()
        for kernel in computed:
            times[kernel.implementation] += kernel.ms / 1e3 / step_s
        reference = sum(kernel.ms for kernel in computed if kernel.is_reference) / 1e3 / step_s
        return {"implementations": dict(times.most_common()), "reference": reference}

    def close(self) -> None:
        """End the processes."""
        for process in self.processes:
            process.kill()
            process.wait()

    def _ask(self, **request: object) -> None:
        for process in self.processes:
            assert process.stdin
            process.stdin.write(json.dumps({"training": self.training, **request}) + "\n")
            process.stdin.flush()

    def _cpu(self) -> tuple[float, float]:
        """CPU seconds of the usable cores, and of these processes."""
        cores = psutil.cpu_times(percpu=True)
        used = [cores[n] for n in usable_cores()]
        own = [psutil.Process(process.pid).cpu_times() for process in self.processes]
        return (
            sum(sum(core) - core.idle - getattr(core, "iowait", 0.0) for core in used),
            sum(times.user + times.system for times in own),
        )


def is_quiet(*turns: dict[str, float], others_cores: float = OTHERS_CORES) -> bool:
    """Whether other programs took little in all of `turns`."""
    return max(turn["others"] for turn in turns) < others_cores


def ratios(
    pairs: Sequence[tuple[dict[str, float], dict[str, float]]], others_cores: float
) -> dict[str, float] | None:
    """The spread of ours through theirs, of quiet pairs of turns; None where they are too few."""
    quiet = [
        ours["images_per_second"] / theirs["images_per_second"]
        for ours, theirs in pairs
        if is_quiet(ours, theirs, others_cores=others_cores)
    ]
    return spread(quiet) if len(quiet) >= FEWEST_PAIRS else None


def shown(found: dict[str, float] | None) -> str:
    """A spread in a table: median, range, number."""
    if found is None:
        return "-"
    extent = f"{found['low']:.2f} to {found['high']:.2f}, " if found["n"] > 1 else ""
    return f"{found['median']:.2f} ({extent}n {found['n']})"


def write(out: Path, figures: dict[str, Any]) -> None:
    """Store `figures`, with the machine, as JSON."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"machine": machine()} | figures, indent=2) + "\n", encoding="utf-8")
    print(f"Figures: {out}")


def _answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{' '.join(process.args)} ended with {process.wait()}")  # type: ignore[arg-type]
    return json.loads(line)


def _kernels(process: subprocess.Popen[str]) -> tuple[list[onednn.Kernel], float]:
    assert process.stdout
    lines = []
    for line in process.stdout:
        if line.startswith("{"):
            return onednn.kernels("".join(lines)), json.loads(line)["seconds"]
        lines.append(line)
    raise RuntimeError(f"{sys.executable} ended in a step")
