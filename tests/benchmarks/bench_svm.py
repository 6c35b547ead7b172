"""SVM grid against scikit-learn's `SVC`: same images, same cores, same moment.

Each repetition draws a split of its own (its number is the seed), fits all configurations with
`mnist_ops.fitting.svm` and with each opponent (`plain_svm`: scikit-learn, and scikit-learn-intelex
where it is installed: ``pip install -e '.[bench]'``) one right after the other, and compares times,
predictions and support vectors. Ours runs on processes of one thread, as the engine's workers are,
started and with the images loaded before the clock; the opponents on joblib's. Peak memory is that
of our worker processes together, without the file pages (of libraries) that they share. Beside
the ratio of wall clock stands that of processor time, which other work on the machine hardly moves.

    python -m tests.benchmarks.bench_svm --repeats 3
    python -m tests.benchmarks.bench_svm --datasets MNIST --train-limit 0 --test-limit 0 --alone
"""

import argparse
import importlib.util
import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import psutil
from sklearn.preprocessing import StandardScaler

from mnist_ops import data
from mnist_ops.core import keys
from mnist_ops.data.catalog import DATASETS
from mnist_ops.fitting import svm
from mnist_ops.study.results import FitResult
from mnist_ops.study.specs import SvmSpec
from tests.benchmarks import plain_svm, turns

Configuration = tuple[str, str, float]
OPPONENTS = {"scikit-learn": "sklearn.svm", "scikit-learn-intelex": "sklearnex.svm"}


def main() -> None:
    """Measure, print, and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", nargs="+", default=list(DATASETS), choices=DATASETS)
    parser.add_argument("--train-limit", type=int, default=10_000)
    parser.add_argument("--test-limit", type=int, default=2_000)
    parser.add_argument("--repeats", type=int, default=1, help="splits, seeds 0, 1, ...")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--memory-gb", type=float, default=4.0, help="of all processes together")
    parser.add_argument("--only", nargs="+", metavar="KERNEL,GAMMA,C", type=_configuration)
    parser.add_argument("--alone", action="store_true", help="leave the opponents out")
    parser.add_argument("--serial", action="store_true", help="opponents without joblib, too")
    parser.add_argument(
        "--out", type=Path, default=Path("build/benchmarks/svm.json"), help="JSON file"
    )
    options = parser.parse_args()

    os.environ |= svm.worker_environment(options.jobs, options.memory_gb)
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        list(pool.map(_warm_up, [options.datasets] * 4 * options.jobs))
        measured = [
            _measure(pool, dataset, options.first_seed + number, options)
            for dataset in options.datasets
            for number in range(options.repeats)
        ]
    report = {
        "jobs": options.jobs,
        "memory_gb": options.memory_gb,
        "train_limit": options.train_limit,
        "test_limit": options.test_limit,
        "measured": measured,
        "summary": {name: _summary(measured, name) for name in options.datasets},
    }
    print(json.dumps(report["summary"], indent=2))
    turns.write(options.out, report)


def _measure(
    pool: ProcessPoolExecutor, dataset: str, seed: int, options: argparse.Namespace
) -> dict[str, Any]:
    configurations = tuple(options.only or plain_svm.CONFIGURATIONS)
    specs = [
        SvmSpec(
            study="svm_grid",
            dataset=dataset,
            kernel=kernel,
            gamma=gamma,
            C=penalty,
            seed=seed,
            train_limit=options.train_limit,
            test_limit=options.test_limit,
        )
        for kernel, gamma, penalty in configurations
    ]
    before = _cpu_s()
    with _peak_memory() as peak:
        start = time.perf_counter()
        done = [pool.submit(_fit, group) for group in _groups(specs)]
        together = dict(pair for group in done for pair in group.result())
        ours_s = time.perf_counter() - start
    ours_cpu_s = _cpu_s() - before
    ours = [together[spec] for spec in specs]
    row: dict[str, Any] = {
        "dataset": dataset,
        "seed": seed,
        "ours_s": ours_s,
        "ours_cpu_s": ours_cpu_s,
        "ours_peak_gb": peak["gb"],
        "alone_s": [result.metrics[keys.TRAIN_TIME_S] for result in ours],
        "shared_s": [result.metrics[keys.SHARED_TRAIN_TIME_S] for result in ours],
        "predict_s": [result.metrics[keys.PREDICT_TIME_S] for result in ours],
        "test_accuracy": [result.metrics[keys.TEST_ACCURACY] for result in ours],
    }
    print(f"{dataset} seed {seed}: ours {ours_s:.2f} s, peak {peak['gb']:.2f} GB", flush=True)
    if options.alone:
        return row
    arrays = _arrays(specs[0])
    opponents = {}
    for name, package in OPPONENTS.items():
        if importlib.util.find_spec(package.partition(".")[0]) is None:
            print(f"{name} is left out, as it is not installed: pip install -e '.[bench]'")
            continue
        before = _cpu_s()
        run = partial(plain_svm.run, package, configurations=configurations, arrays=arrays)
        wall_s, results = run(joblib.Parallel(n_jobs=options.jobs))
        cpu_s = _cpu_s() - before
        if options.serial:
            wall_s = min(wall_s, run(joblib.Parallel(n_jobs=1))[0])
        opponents[name] = found = {
            "s": wall_s,
            "cpu_s": cpu_s,
            "ratio": wall_s / ours_s,
            "cpu_ratio": cpu_s / ours_cpu_s,
            "agreement": [
                float(np.mean(mine.predictions == theirs))
                for mine, (theirs, _) in zip(ours, results, strict=True)
            ],
            "support_vector_difference": [
                int(mine.metrics[keys.SUPPORT_VECTORS]) - count
                for mine, (_, count) in zip(ours, results, strict=True)
            ],
        }
        print(
            f"  {name} {wall_s:.1f} s: {found['ratio']:.1f} times, processor time "
            f"{found['cpu_ratio']:.1f} times; agreement {found['agreement']}; support vectors "
            f"{found['support_vector_difference']}",
            flush=True,
        )
    row["opponents"] = opponents
    return row


def _summary(measured: list[dict[str, Any]], dataset: str) -> dict[str, Any]:
    rows = [row for row in measured if row["dataset"] == dataset]
    return {
        "ours_s": turns.spread([row["ours_s"] for row in rows]),
        "peak_gb": max(row["ours_peak_gb"] for row in rows),
        "opponents": {
            name: {
                number: turns.spread([row["opponents"][name][number] for row in rows])
                for number in ("s", "ratio", "cpu_ratio")
            }
            | {"agreement": min(min(row["opponents"][name]["agreement"]) for row in rows)}
            for name in rows[0].get("opponents", ())
        },
    }


def _arrays(spec: SvmSpec) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    images = data.load(spec.dataset)
    parts = data.split_of(spec, images)
    scaler = StandardScaler()
    pixels = images.images.reshape(len(images.images), -1).astype(np.float64)
    x_train = scaler.fit_transform(pixels[parts.train])
    x_test = scaler.transform(pixels[parts.test])
    return x_train, images.labels[parts.train], x_test


def _groups(specs: list[SvmSpec]) -> list[list[SvmSpec]]:
    """What goes to one worker together: what differs in C, or in the name of a gamma, alone."""
    groups: dict[tuple[str, float | None], list[SvmSpec]] = {}
    for spec in specs:
        gamma = None if isinstance(spec.gamma, str) else spec.gamma
        groups.setdefault((spec.kernel, gamma), []).append(spec)
    return list(groups.values())


def _fit(specs: list[SvmSpec]) -> list[tuple[SvmSpec, FitResult]]:
    return list(zip(specs, svm.fit_all(specs, data.load(specs[0].dataset)), strict=True))


def _warm_up(datasets: list[str]) -> None:
    for dataset in datasets:
        data.load(dataset)
    # Long enough that the other processes get their share of these calls.
    time.sleep(0.5)


def _cpu_s() -> float:
    """Processor seconds of this process and its children so far, those that ended among them."""
    ended = os.times()
    this = psutil.Process()
    times = [process.cpu_times() for process in (this, *this.children(recursive=True))]
    running_s = sum(used.user + used.system for used in times)
    return running_s + ended.children_user + ended.children_system


@contextmanager
def _peak_memory() -> Iterator[dict[str, float]]:
    """The most that the children of this process used at once, in GB, looked at every 50 ms."""
    peak = {"gb": 0.0}
    done = threading.Event()

    def watch() -> None:
        children = psutil.Process().children(recursive=True)
        while not done.wait(0.05):
            total = 0
            for process in children:
                try:
                    used = process.memory_info()
                    total += used.rss - used.shared
                except psutil.NoSuchProcess:
                    continue
            peak["gb"] = max(peak["gb"], total / 1e9)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def _configuration(text: str) -> Configuration:
    kernel, gamma, penalty = text.split(",")
    return kernel, gamma, float(penalty)


if __name__ == "__main__":
    main()
