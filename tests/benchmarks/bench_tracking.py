"""What tracking costs a training, and what a tracking server that is away does to its steps.

Overhead: the same training with journal, delivery to a SQLite store and checkpoints, as a worker
runs it, and without any of them, one right after the other, in turns, at preset ``paper``'s size
(--share takes a part of its images; below a minute of training no checkpoint may be due). The clock
is the processor's time of the whole process, which other work on the machine hardly moves, and wall
time beside it.

Outage: one training against a real server that is killed in its middle and started again, by the
times of its steps, before, while, and after.

    python -m tests.benchmarks.bench_tracking --repeats 5
"""

import argparse
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.benchmarks import turns
from tests.support.faults import Server

PAPER_IMAGES = 49_000


def main() -> None:
    """Measure, print, and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="pairs")
    parser.add_argument("--share", type=float, default=1, help="of the preset's images")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--models", nargs="+", default=["resnet18", "resnet50"])
    parser.add_argument("--outage", type=float, default=60, help="seconds; 0 leaves it out")
    parser.add_argument(
        "--out", type=Path, default=Path("build/benchmarks/tracking.json"), help="JSON file"
    )
    options = parser.parse_args()
    out = options.out.absolute()

    found: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MNIST_OPS_STATE"] = f"{folder}/state"
        os.chdir(folder)
        for model in options.models:
            found[model] = overhead(model, options.repeats, options.share, options.epochs)
        if options.outage:
            found["outage"] = outage(Path(folder), options.outage)
    turns.write(out, found)


def overhead(model: str, repeats: int, share: float, epochs: int) -> dict[str, object]:
    """Tracked against untracked, as ratios less 1."""
    from mnist_ops import data, tracking
    from mnist_ops.fitting.determinism import reproducible
    from mnist_ops.fitting.resnet import train
    from mnist_ops.runner import task
    from mnist_ops.runner.fit_groups import FitGroup
    from mnist_ops.study.specs import ResNetSpec

    images = data.load("MNIST")
    spec = ResNetSpec(
        study="resnet_grid",
        dataset="MNIST",
        model=model,
        batch_size=32,
        optimizer="Adam",
        learning_rate=0.001,
        epochs=epochs,
        train_limit=round(share * PAPER_IMAGES),
        test_limit=1000,
    )
    tracker = tracking.open_tracker(tracking.default_uri())
    parent = tracking.Parent("0" * 32, "0")

    def untracked() -> None:
        with reproducible(threads=1):
            train.fit(spec, images)

    def tracked(seed: int) -> None:
        one = replace(spec, seed=seed)
        context = task.CellContext(
            tracker.address,
            parent,
            None,
            {one.fingerprint: "paper"},
            forced=True,
        )
        (outcome,) = task.compute(FitGroup(one.fingerprint, (one,)), context, lambda _: None)
        assert outcome.state == "finished", outcome.error

    untracked()
    pairs = []
    for pair in range(repeats):
        order: list[tuple[str, Callable[[], None]]] = [
            ("with", lambda: tracked(spec.seed)),
            ("without", untracked),
        ]
        pairs.append({name: _clocked(work) for name, work in order[:: 1 if pair % 2 else -1]})
    tracking.close_tracker(tracker)
    ratios = {
        clock: [pair["with"][clock] / pair["without"][clock] - 1 for pair in pairs]
        for clock in ("processor", "wall")
    }
    for clock, values in ratios.items():
        shown = ", ".join(f"{value:+.2%}" for value in values)
        print(f"{model}: tracking costs {statistics.median(values):+.2%} of {clock} time ({shown})")
    return {"pairs": pairs, "overhead": ratios}


def _clocked(work: Callable[[], None]) -> dict[str, float]:
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return {
        "wall": time.perf_counter() - wall,
        "processor": time.process_time() - processor,
    }


def outage(folder: Path, seconds: float) -> dict[str, object]:
    """Step times of a training before, while and after its server is away, in milliseconds."""
    from mnist_ops import data, tracking
    from mnist_ops.core import keys
    from mnist_ops.fitting.fast import Prepared
    from mnist_ops.runner import task
    from mnist_ops.runner.fit_groups import FitGroup
    from mnist_ops.study.specs import ResNetSpec

    server = Server(folder)
    tracker = tracking.open_tracker(server.uri)
    spec = ResNetSpec(
        study="resnet_grid",
        dataset="MNIST",
        model="resnet18",
        batch_size=32,
        optimizer="Adam",
        learning_rate=0.001,
        epochs=600,
        train_limit=320,
        test_limit=100,
    )
    data.load("MNIST")
    steps: list[tuple[float, float]] = []
    step = Prepared.eager_step

    def clocked(self: object, *batch: object) -> object:
        began = time.perf_counter()
        loss = step(self, *batch)  # type: ignore[arg-type]
        steps.append((began, time.perf_counter() - began))
        return loss

    Prepared.eager_step = clocked  # type: ignore[method-assign,assignment]
    parent = tracking.Parent("0" * 32, tracking.experiment(tracker.client, "outage"))
    context = task.CellContext(tracker.address, parent, None, {spec.fingerprint: "custom"})
    group = FitGroup(spec.fingerprint, (spec,))
    working = threading.Thread(target=task.compute, args=(group, context, lambda _: None))
    working.start()
    time.sleep(seconds / 3)
    gone = time.perf_counter()
    server.stop()
    time.sleep(seconds)
    back = time.perf_counter()
    server.start()
    working.join()
    Prepared.eager_step = step  # type: ignore[method-assign]
    assert tracker.uploader.flush(60, retry=True)
    run = tracking.finished_of(tracker.client, [spec.fingerprint])[spec.fingerprint]
    points = tracker.client.get_metric_history(run.info.run_id, keys.TRAIN_LOSS)
    in_order = [point.step for point in points] == list(range(1, spec.epochs + 1))
    tracking.close_tracker(tracker)
    server.stop()
    parts = {
        "before": [took for at, took in steps if at < gone],
        "while": [took for at, took in steps if gone <= at < back],
        "after": [took for at, took in steps if at >= back],
    }
    medians = {name: 1e3 * statistics.median(values or [0]) for name, values in parts.items()}
    print(
        f"server away for {seconds:.0f} s: median step "
        + ", ".join(
            f"{name} {value:.1f} ms ({len(parts[name])})" for name, value in medians.items()
        )
        + f"; longest while away {1e3 * max(parts['while']):.0f} ms; "
        + f"{len(points)} of {spec.epochs} points there, "
        + ("in order, none doubled" if in_order else "NOT IN ORDER")
    )
    return {"median_ms": medians, "points": len(points), "in_order": in_order}


if __name__ == "__main__":
    main()
