"""Training a ResNet: this project against the script a user would write, on the whole machine.

Ours runs as the project does, one single-threaded worker a core; the opponent (`plain_resnet`) as
one process with torch's own threads, in the better of float32 and bfloat16. All processes stay up
and take turns of a few seconds (A B A B ...), and a ratio is that of two neighbouring turns: what
else happens on the machine meets both. Turns in which other programs took more than a tenth of a
core are left out: threads that wait for one another suffer from them many times as much as ours,
which would flatter us. Where fewer than three pairs remain, no ratio is given.

Beside the ratio: the peak memory of a worker; the share of the floor, which is what the machine's
own rates of one large matrix product and of a copy, measured in the same minutes, leave as the
shortest step; and what the whole grid of the study costs at the measured rates, where cells that
are one fit group are trained once.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import nn

from mnist_ops.data import default_data_dir, load, split
from mnist_ops.data.catalog import DATASETS
from mnist_ops.fitting.determinism import reproducible
from mnist_ops.fitting.fast import cropped_kernels, kernel_check
from mnist_ops.fitting.resnet import models, train
from mnist_ops.runner.fit_groups import grouped
from mnist_ops.runner.workers import local
from mnist_ops.study.specs import ResNetSpec
from mnist_ops.tracking import provenance
from pipelines import resnet_grid

DIGITS = DATASETS["MNIST"]

DEFAULT_OUT = Path("build/benchmarks/resnet.json")
DATASET = "MNIST"
WARM_UP_STEPS = 5
DISTURBED_CORES = 0.1
FEWEST_PAIRS = 3


@dataclass(frozen=True)
class Case:
    """What is trained."""

    model: str
    batch_size: int
    optimizer: str


CASES = [
    Case(model, batch_size, optimizer)
    for model in ("resnet18", "resnet50")
    for batch_size in (32, 16)
    for optimizer in ("Adam", "SGD")
]
QUICK_CASES = [
    Case("resnet18", 32, "Adam"),
    Case("resnet18", 16, "Adam"),
    Case("resnet50", 32, "Adam"),
]
# Bytes a weight that a step must move: read and write weight and means, in float32; read its
# gradient and write its cast, in bfloat16; and read or write it so once a matrix product.
BYTES_A_WEIGHT = {"Adam": 12 + 12 + 4 + 6, "SGD": 8 + 8 + 4 + 6}
TRAINING_IMAGES = 49_000


def our_steps(case: Case, precision: str, plain: bool) -> Iterator[object]:
    """Train without end as a worker of the project does."""
    spec = ResNetSpec(
        study="benchmark",
        dataset=DATASET,
        learning_rate=0.001,
        epochs=1,
        precision=precision,
        plain=plain,
        **asdict(case),
    )
    images = load(DATASET)
    trainer = train.Trainer(spec, images, split(images.labels, 0))
    trainer.prepared.network.train()
    while True:
        for index in trainer.draw_batches():
            yield trainer.take_step(index)


def opponents_steps(case: Case, precision: str) -> Iterator[object]:
    from tests.benchmarks.plain_resnet import training

    return training(
        case.model, DATASET, default_data_dir(), case.batch_size, case.optimizer, precision
    )


def serve(request: dict[str, Any]) -> None:
    """The life of a process: for each number of seconds on stdin, train so long and report."""
    case = Case(**request["case"])
    if request["ours"]:
        torch.set_num_threads(1)
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {request["core"]})
        steps = our_steps(case, request["precision"], request["plain"])
    else:
        steps = opponents_steps(case, request["precision"])
    for _ in range(WARM_UP_STEPS):
        next(steps)
    memory = psutil.Process()
    peak = 0
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        start, count = time.perf_counter(), 0
        while (seconds := time.perf_counter() - start) < float(line):
            next(steps)
            count += 1
        peak = max(peak, memory.memory_info().rss)
        rate = count * case.batch_size / seconds
        print(json.dumps({"images_per_second": rate, "memory": peak}), flush=True)


class Contestant:
    """Processes that train side by side, in turns."""

    def __init__(self, case: Case, precision: str, *, ours: bool, plain: bool = False):
        self.precision = precision
        request = {"case": asdict(case), "precision": precision, "ours": ours, "plain": plain}
        environment = dict(os.environ)
        if ours:
            environment |= local.environment()
        self.processes = [
            subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    __spec__.name,
                    "--serve",
                    json.dumps(request | {"core": core}),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
            )
            for core in (local.usable_cores() if ours else [None])
        ]
        for process in self.processes:
            self._answer(process)

    def turn(self, seconds: float) -> dict[str, float]:
        """Images a second of all, peak bytes of one, and cores that other programs took."""
        before, start = self._cpu(), time.perf_counter()
        for process in self.processes:
            assert process.stdin
            process.stdin.write(f"{seconds}\n")
            process.stdin.flush()
        answers = [self._answer(process) for process in self.processes]
        after, took = self._cpu(), time.perf_counter() - start
        return {
            "images_per_second": sum(answer["images_per_second"] for answer in answers),
            "memory": max(answer["memory"] for answer in answers),
            "others": max(0.0, ((after[0] - before[0]) - (after[1] - before[1])) / took),
        }

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()

    def _cpu(self) -> tuple[float, float]:
        """CPU seconds of the whole machine, and of these processes."""
        machine = psutil.cpu_times()
        own = [psutil.Process(process.pid).cpu_times() for process in self.processes]
        return (
            sum(machine) - machine.idle - getattr(machine, "iowait", 0.0),
            sum(times.user + times.system for times in own),
        )

    @staticmethod
    def _answer(process: subprocess.Popen[str]) -> Any:
        assert process.stdout
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"a benchmark's process ended with {process.wait()}")
        return json.loads(line)


def compare(case: Case, precision: str, pairs: int, seconds: float) -> dict[str, Any]:
    """Ours in `precision` against both forms of the opponent."""
    ours = Contestant(case, precision, ours=True)
    opponents = [Contestant(case, p, ours=False) for p in ("float32", "bfloat16")]
    try:
        turns = [[c.turn(seconds) for c in (ours, *opponents)] for _ in range(pairs)]
    finally:
        for contestant in (ours, *opponents):
            contestant.close()
    quiet = [t for t in turns if max(turn["others"] for turn in t) < DISTURBED_CORES]
    counted = quiet if len(quiet) >= FEWEST_PAIRS else []
    ratios = [
        t[0]["images_per_second"] / max(turn["images_per_second"] for turn in t[1:])
        for t in counted
    ]
    rates = [
        statistics.median(t[i]["images_per_second"] for t in counted or turns) for i in range(3)
    ]
    return {
        **asdict(case),
        "precision": precision,
        "ratio": statistics.median(ratios) if ratios else None,
        "ratio_low": min(ratios, default=None),
        "ratio_high": max(ratios, default=None),
        "pairs": len(ratios),
        "others_cores": statistics.median(turn["others"] for t in turns for turn in t),
        "images_per_second": rates[0],
        "opponent_float32": rates[1],
        "opponent_bfloat16": rates[2],
        "worker_memory_mb": max(t[0]["memory"] for t in turns) / 1e6,
    }


def floor(seconds: float = 0.5) -> dict[str, float]:
    """What one core can do: billions of operations a second, and of bytes."""

    def best(work: Any) -> float:
        end, shortest = time.perf_counter() + seconds, float("inf")
        # Once at least after the first, which may wait for memory.
        for turn in itertools.count():
            if turn > 2 and time.perf_counter() > end:
                break
            start = time.perf_counter()
            work()
            shortest = min(shortest, time.perf_counter() - start)
        return shortest

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rates = {}
    n = 1024
    for dtype in (torch.float32, torch.bfloat16):
        matrix = torch.randn(n, n).to(dtype)
        rates[f"gflops_{str(dtype)[6:]}"] = 2e-9 * n**3 / best(lambda m=matrix: m @ m)
    source = torch.ones(2**25)
    target = torch.empty_like(source)
    rates["copy_gb_per_s"] = 8e-9 * source.numel() / best(lambda: target.copy_(source))
    torch.set_num_threads(threads)
    return rates


def shortest_step(case: Case, rates: dict[str, float]) -> float:
    """Seconds of one core at its own rates, if products and weights were all there is.

    Three products for each weight and each pixel that it meets (forward, and the gradients of
    weights and of pixels), and one pass over the live weights.
    """
    pairs = weights_times_pixels(case.model)
    products = 3 * 2 * pairs * case.batch_size / (1e9 * rates["gflops_bfloat16"])
    moved = (
        BYTES_A_WEIGHT[case.optimizer] * models.complexity(network_spec(case.model)).live_parameters
    )
    return products + moved / (1e9 * rates["copy_gb_per_s"])


def network_spec(model: str) -> ResNetSpec:
    """Return a training of the network called `model`."""
    return ResNetSpec(
        study="benchmark",
        dataset=DATASET,
        model=model,
        batch_size=16,
        optimizer="Adam",
        learning_rate=0.001,
        epochs=1,
    )


@cache
def weights_times_pixels(model: str) -> int:
    """Multiply-accumulates of one image that no padding makes zero."""
    network = cropped_kernels.rewrite(models.build(network_spec(model)), DIGITS.image_shape)
    count = 0
    for layer in network.modules():
        if isinstance(layer, cropped_kernels.CroppedConv2d):
            g = layer.geometry
            met = [
                sum(
                    0
                    <= window * g.stride[side] + tap * g.dilation[side] - g.before[side]
                    < g.size[side]
                    for window in range(g.windows[side])
                    for tap in range(g.kernel[side])
                )
                for side in (0, 1)
            ]
            count += met[0] * met[1] * layer.weight.shape[0] * layer.weight.shape[-1]
        elif isinstance(layer, nn.Linear):
            count += layer.weight.numel()
    return count


def our_rate(case: Case, precision: str, seconds: float) -> float:
    """Images a second of all cores together, without an opponent."""
    ours = Contestant(case, precision, ours=True)
    try:
        return statistics.median(ours.turn(seconds)["images_per_second"] for _ in range(3))
    finally:
        ours.close()


def grid_hours(rates: dict[Case, float]) -> dict[str, float]:
    """Hours of the `paper` grid's trainings on the cores that `rates`, in images/s, were had on."""
    cells = resnet_grid.STUDY.with_axes({"device": ("cpu",)}).cells("paper")
    fitted = [group.fitted for group in grouped(cells, share=True)]
    seconds = sum(
        spec.epochs * TRAINING_IMAGES / rates[Case(spec.model, spec.batch_size, spec.optimizer)]
        for spec in fitted
    )
    return {
        "cells": len(cells),
        "trainings": len(fitted),
        "hours": seconds / 3600,
        "core_hours": seconds / 3600 * len(local.usable_cores()),
    }


def _has_kernels() -> bool:
    with reproducible(threads=1):
        return kernel_check.usable()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="three cases, and each ours once: 5 minutes"
    )
    parser.add_argument("--pairs", type=int, default=0, help="turns of each side")
    parser.add_argument("--seconds", type=float, default=0, help="length of a turn")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="where the figures go")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(json.loads(options.serve))
        return
    pairs = options.pairs or (4 if options.quick else 9)
    seconds = options.seconds or (1.5 if options.quick else 3.0)
    figures: dict[str, Any] = {
        "machine": provenance.tags("cpu"),
        "kernels": _has_kernels(),
        "floor": floor(),
        "cores": len(local.usable_cores()),
        "cases": [],
    }
    print("One core:", ", ".join(f"{name} {rate:.0f}" for name, rate in figures["floor"].items()))
    print(
        f"{'model':9} {'batch':>5} {'with':5} {'ours/s':>8} {'fp32/s':>7} {'bf16/s':>7} "
        f"{'ratio':>6} {'(lowest to highest, n)':24} {'others':>6} {'worker MB':>9} {'of floor':>8}"
    )
    rates: dict[Case, float] = {}
    for case in QUICK_CASES if options.quick else CASES:
        row = compare(case, "bfloat16", pairs, seconds)
        possible = figures["cores"] * case.batch_size / shortest_step(case, figures["floor"])
        row |= {
            "floor_images_per_second": possible,
            "share_of_floor": row["images_per_second"] / possible,
        }
        figures["cases"].append(row)
        rates[case] = row["images_per_second"]
        ratio, spread = "-", "(others took the cores)"
        if row["ratio"]:
            ratio = f"{row['ratio']:.2f}"
            spread = f"({row['ratio_low']:.2f} to {row['ratio_high']:.2f}, {row['pairs']})"
        print(
            f"{case.model:9} {case.batch_size:5} {case.optimizer:5} "
            f"{row['images_per_second']:8.0f} {row['opponent_float32']:7.0f} "
            f"{row['opponent_bfloat16']:7.0f} {ratio:>6} {spread:24} "
            f"{row['others_cores']:6.2f} {row['worker_memory_mb']:9.0f} "
            f"{row['share_of_floor']:8.0%}",
            flush=True,
        )
    for case in CASES:
        if case not in rates:
            rates[case] = our_rate(case, "bfloat16", seconds)
    figures["rates"] = [asdict(case) | {"images_per_second": rates[case]} for case in CASES]
    figures["grid"] = grid_hours(rates)
    print(
        "The paper grid: {cells} cells, {trainings} trainings, {hours:.1f} hours on {cores} cores, "
        "evaluation left out".format(cores=figures["cores"], **figures["grid"])
    )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(figures, indent=2) + "\n")
    print(f"Figures: {options.out}")


if __name__ == "__main__":
    main()
