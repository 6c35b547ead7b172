"""Training a ResNet: this project against what a user would run instead, on the whole machine.

Ours runs as the project does, one single-threaded worker a core. The opponents (`opponents`), each
in the better of float32 and bfloat16 as a short trial finds it: the script of PyTorch's tutorials
and one with its images in memory, with torch's own threads; the latter as a single-threaded process
a core; Lightning's trainer, where it is installed (``pip install -e '.[bench]'``). With ``--torch``
the first and the third also run under another Python, with the torch that it has, in the same
turns: no ratio is then a regression of one version. How turns are taken, and which count: `turns`.
Beside each stand the kernels of oneDNN that a step takes.

Beside the ratio: the peak memory of a worker; the share of the floor, which is what the machine's
own rates of one large matrix product and of a copy, measured in the same minutes, leave as the
shortest step; and what the whole grid of the study costs at the measured rates, where cells that
are one fit group are trained once.

    python -m tests.benchmarks.bench_resnet --quick --torch /tmp/torch-2.12/bin/python
"""

import argparse
import importlib.util
import itertools
import os
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

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
from pipelines import resnet_grid
from tests.benchmarks import turns
from tests.benchmarks.opponents.serve import serve
from tests.benchmarks.turns import Contestant

DIGITS = DATASETS["MNIST"]

DEFAULT_OUT = Path("build/benchmarks/resnet.json")
DATASET = "MNIST"
OURS = "mnist-ops"
# Its name in tables, its script, and whether it is a process a core.
TUTORIAL = ("tutorial script", "tutorial", False)
A_CORE = ("smart script, a process a core", "smart", True)
LIGHTNING = ("Lightning", "lightning_trainer", False)
OPPONENTS = (TUTORIAL, ("smart script", "smart", False), A_CORE)
PRECISIONS = ("float32", "bfloat16")
# Of its time a step may spend so much in reference kernels before it is said.
REFERENCE_SHARE = 0.05


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


def our_training(*, on_step: Callable[[], None], plain: bool = False, **training: Any) -> None:
    """Train without end as a worker of the project does."""
    spec = ResNetSpec(study="benchmark", learning_rate=0.001, epochs=1, plain=plain, **training)
    images = load(spec.dataset)
    trainer = train.Trainer(spec, images, split(images.labels, 0))
    trainer.prepared.network.train()
    while True:
        for index in trainer.draw_batches():
            trainer.take_step(index)
            on_step()


def our_worker(core: int) -> None:
    """A process of ours, on the core of this number."""
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    serve(our_training)


def ours() -> Contestant:
    """The project's workers."""
    command = [sys.executable, "-m", __spec__.name, "--core"]
    commands = [[*command, str(core)] for core in local.usable_cores()]
    return Contestant(OURS, commands, os.environ | local.environment())


def opponents(pythons: list[str]) -> list[Contestant]:
    """All opponents under this Python, and the scripts under the `pythons`."""
    wanted = [(*opponent, sys.executable) for opponent in OPPONENTS]
    if importlib.util.find_spec("pytorch_lightning"):
        wanted.append((*LIGHTNING, sys.executable))
    else:
        print("Lightning is left out, as it is not installed: pip install -e '.[bench]'")
    wanted += [(*opponent, python) for python in pythons for opponent in (TUTORIAL, A_CORE)]
    root = default_data_dir()
    return [
        Contestant.opponent(name, script, root, python, a_core=a_core)
        for name, script, a_core, python in wanted
    ]


@dataclass(frozen=True)
class Length:
    """Number of turns of each contestant, and their seconds."""

    rounds: int
    seconds: float
    others_cores: float


def compare(
    case: Case, mine: Contestant, others: list[Contestant], length: Length
) -> dict[str, Any]:
    """Ours, in bfloat16, against each of the others in its better precision."""
    training = {"dataset": DATASET, **asdict(case)}
    precisions = _better_precisions(training, others, length.seconds / 3)
    prepare({other: training | {"precision": precisions[other]} for other in others})
    prepare({mine: training | {"precision": "bfloat16"}})
    pairs: dict[Contestant, list[tuple[dict[str, float], dict[str, float]]]] = {
        other: [] for other in others
    }
    for _ in range(length.rounds):
        # Each opponent is the neighbour of a turn of ours, which stands between every two.
        own = mine.turn(length.seconds)
        for number, other in enumerate(others):
            theirs = other.turn(length.seconds)
            if number % 2:
                own = mine.turn(length.seconds)
            pairs[other].append((own, theirs))
    everything = [turn for found in pairs.values() for pair in found for turn in pair]
    # Two pairs may have a turn of ours in common.
    mine_alone = {id(own): own for found in pairs.values() for own, _ in found}.values()
    return {
        **asdict(case),
        "others_cores": statistics.median(turn["others"] for turn in everything),
        "images_per_second": turns.spread([turn["images_per_second"] for turn in mine_alone]),
        "worker_memory_mb": max(turn["memory"] for turn in mine_alone) / 1e6,
        "torch": mine.torch,
        "kernels": mine.kernels(),
        "opponents": [
            {
                "name": other.name,
                "torch": other.torch,
                "precision": precisions[other],
                "images_per_second": turns.spread([t["images_per_second"] for _, t in found]),
                "memory_mb": max(theirs["memory"] for _, theirs in found) / 1e6,
                "ratio": turns.ratios(found, length.others_cores),
                "kernels": other.kernels(),
            }
            for other, found in pairs.items()
        ],
    }


def prepare(trainings: dict[Contestant, dict[str, Any]]) -> None:
    """Let each build and warm up its training."""
    for contestant, training in trainings.items():
        contestant.prepare(training)


def _better_precisions(
    training: dict[str, Any], others: list[Contestant], seconds: float
) -> dict[Contestant, str]:
    rates: dict[Contestant, dict[str, float]] = {other: {} for other in others}
    for precision in PRECISIONS:
        prepare({other: training | {"precision": precision} for other in others})
        for other in others:
            rates[other][precision] = other.turn(seconds)["images_per_second"]
    return {other: max(found, key=found.__getitem__) for other, found in rates.items()}


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
    parser.add_argument("--quick", action="store_true", help="three cases, each ours once: minutes")
    parser.add_argument("--rounds", type=int, default=0, help="turns of each opponent")
    parser.add_argument("--seconds", type=float, default=0, help="length of a turn")
    parser.add_argument(
        "--torch", action="append", default=[], metavar="PYTHON", help="runs the scripts, too"
    )
    parser.add_argument(
        "--others",
        type=float,
        default=turns.OTHERS_CORES,
        help="cores that other programs may take in a turn that counts",
    )
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="where the figures go")
    parser.add_argument("--core", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.core is not None:
        our_worker(options.core)
        return
    length = Length(
        options.rounds or (4 if options.quick else 9),
        options.seconds or (1.0 if options.quick else 3.0),
        options.others,
    )
    cores = len(local.usable_cores())
    rates_of_core = floor()
    print("One core:", ", ".join(f"{name} {rate:.0f}" for name, rate in rates_of_core.items()))
    rows, rates = [], {}
    with ExitStack() as stack:
        mine, others = ours(), opponents(options.torch)
        for contestant in (mine, *others):
            stack.callback(contestant.close)
        for contestant in (mine, *others):
            contestant.ready()
        for case in QUICK_CASES if options.quick else CASES:
            row = compare(case, mine, others, length)
            possible = cores * case.batch_size / shortest_step(case, rates_of_core)
            row["share_of_floor"] = row["images_per_second"]["median"] / possible
            rows.append(row)
            rates[case] = row["images_per_second"]["median"]
            print_case(row)
        for case in CASES:
            if case not in rates:
                prepare({mine: {"dataset": DATASET, **asdict(case), "precision": "bfloat16"}})
                own = [mine.turn(length.seconds)["images_per_second"] for _ in range(3)]
                rates[case] = statistics.median(own)
    grid = grid_hours(rates)
    print(
        "The paper grid: {cells} cells, {trainings} trainings, {hours:.1f} hours on {cores} cores, "
        "evaluation left out".format(cores=cores, **grid)
    )
    turns.write(
        options.out,
        {
            "kernels": _has_kernels(),
            "floor": rates_of_core,
            "cores": cores,
            "cases": rows,
            "rates": [asdict(case) | {"images_per_second": rates[case]} for case in CASES],
            "grid": grid,
        },
    )


def print_case(row: dict[str, Any]) -> None:
    """Print a case: ours, then each opponent."""
    print(
        f"{row['model']}, batch {row['batch_size']}, {row['optimizer']}: "
        f"{row['images_per_second']['median']:.0f} images/s, {row['share_of_floor']:.0%} of the "
        f"floor, {row['worker_memory_mb']:.0f} MB a worker; others took "
        f"{row['others_cores']:.2f} cores"
    )
    for each in (row | {"name": OURS, "precision": "bfloat16", "ratio": None}, *row["opponents"]):
        kernels = each["kernels"]
        named = ", ".join(
            f"{name} {share:.0%}" for name, share in list(kernels["implementations"].items())[:3]
        )
        print(
            f"  {each['name']:31} torch {each['torch']:12} {each['precision']:8} "
            f"{each['images_per_second']['median']:6.0f}/s  {turns.shown(each['ratio']):26} {named}"
        )
        if kernels["reference"] > REFERENCE_SHARE:
            print(f"    a reference kernel takes {kernels['reference']:.0%} of its step")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
