"""Trainings side by side on one CUDA device: images a second by how many, with graphs and without.

Each training is a thread with a stream of its own, as in a worker of a grid that runs with
``--streams``. All begin together, and go on for the same few seconds after their warm-up.
"""

import argparse
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from mnist_ops.data import load, split
from mnist_ops.fitting.determinism import reproducible
from mnist_ops.fitting.resnet import train
from mnist_ops.fitting.resnet.device import Clock, own_stream
from mnist_ops.study.specs import ResNetSpec
from mnist_ops.tracking import provenance

DEFAULT_OUT = Path("build/benchmarks/streams.json")
DATASET = "MNIST"
STREAMS = (1, 2, 4, 8, 16)
WARM_UP_STEPS = 10


def images_per_second(spec: ResNetSpec, streams: int, seconds: float, *, graph: bool) -> float:
    """Of all trainings together."""
    ready = threading.Barrier(streams)

    def train_one(seed: int) -> float:
        images = load(DATASET)
        device = torch.device(spec.device)
        with own_stream(device), reproducible(threads=1):
            trainer = train.Trainer(spec, images, split(images.labels, seed))
            trainer.prepared.network.train()
            if graph:
                trainer.capture()
            batches = trainer.draw_batches()
            for batch in batches[:WARM_UP_STEPS]:
                trainer.take_step(batch)
            clock = Clock(device)
            ready.wait()
            start, steps = time.perf_counter(), 0
            with clock:
                while time.perf_counter() - start < seconds:
                    trainer.take_step(batches[steps % (len(batches) - 1)])
                    steps += 1
        return steps * spec.batch_size / clock.seconds

    with ThreadPoolExecutor(streams) as threads:
        return sum(threads.map(train_one, range(streams)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--seconds", type=float, default=5.0, help="that each setting is measured")
    parser.add_argument("--streams", type=int, nargs="+", default=STREAMS)
    parser.add_argument("--models", nargs="+", default=["resnet18", "resnet50"])
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="where the figures go")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("no CUDA device: nothing to measure")
        return
    rows: list[dict[str, Any]] = []
    print(f"{'model':9} {'batch':>5} {'steps':6} {'streams':>7} {'images/s':>9} {'of one':>7}")
    for model in options.models:
        for batch_size in (16, 32):
            for graph in (False, True) if options.device == "cuda" else (False,):
                spec = ResNetSpec(
                    study="benchmark",
                    dataset=DATASET,
                    model=model,
                    batch_size=batch_size,
                    optimizer="Adam",
                    learning_rate=0.001,
                    epochs=1,
                    device=options.device,
                )
                one = 0.0
                for streams in options.streams:
                    rate = images_per_second(spec, streams, options.seconds, graph=graph)
                    one = one or rate / streams
                    rows.append(
                        {
                            "model": model,
                            "batch_size": batch_size,
                            "graph": graph,
                            "streams": streams,
                            "images_per_second": rate,
                        }
                    )
                    steps = "graph" if graph else "eager"
                    print(
                        f"{model:9} {batch_size:5} {steps:6} {streams:7} {rate:9.0f} "
                        f"{rate / one:7.2f}",
                        flush=True,
                    )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    figures = {"machine": provenance.tags(options.device), "cases": rows}
    options.out.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
