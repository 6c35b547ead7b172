"""The fast network against torchvision's own (`--plain`): do they learn equally well?

Trains both with the same seeds, on all training images for 2 epochs, and compares their accuracies
on the test images. Seeds pair the two, and the interval is that of the mean difference. Each
result is written as it comes: started again, it goes on with what is missing. One single-threaded
process a core, as the project trains.
"""

import argparse
import json
import multiprocessing
import statistics
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scipy.stats import t

from mnist_ops.core import keys
from mnist_ops.data import load
from mnist_ops.fitting.determinism import reproducible
from mnist_ops.fitting.resnet import train
from mnist_ops.runner.workers.local import usable_cores
from mnist_ops.study.specs import ResNetSpec

DEFAULT_OUT = Path("build/benchmarks/accuracy.jsonl")
CONFIDENCE = 0.95


def specs(options: argparse.Namespace) -> list[ResNetSpec]:
    return [
        ResNetSpec(
            study="benchmark",
            dataset=options.dataset,
            model=options.model,
            batch_size=options.batch_size,
            optimizer=options.optimizer,
            learning_rate=options.learning_rate,
            epochs=options.epochs,
            train_limit=options.train_limit,
            seed=seed,
            plain=plain,
            # The fast form as it is used, against float32 or bfloat16 as plain torch has it.
            precision=options.plain_precision if plain else "bfloat16",
        )
        for seed in range(options.seeds)
        for plain in (True, False)
    ]


def measured(spec: ResNetSpec) -> dict[str, Any]:
    with reproducible(threads=1):
        result = train.fit(spec, load(spec.dataset))[spec.epochs]
    names = (keys.TEST_ACCURACY, keys.TRAIN_LOSS, keys.TRAIN_TIME_S)
    return {
        "fingerprint": spec.fingerprint,
        **asdict(spec),
        **{name: float(result.metrics[name]) for name in names},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="0, 1, ...")
    parser.add_argument("--dataset", default="MNIST")
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--optimizer", default="Adam")
    parser.add_argument("--learning-rate", type=float, default=0.001)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--train-limit", type=int, default=0, help="images; 0 takes all")
    parser.add_argument("--plain-precision", default="float32")
    parser.add_argument("--processes", type=int, default=len(usable_cores()))
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="a line of JSON a training")
    options = parser.parse_args()

    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.touch()
    lines = [json.loads(line) for line in options.out.read_text().splitlines()]
    done = {line["fingerprint"]: line for line in lines}
    wanted = specs(options)
    missing = [spec for spec in wanted if spec.fingerprint not in done]
    print(f"{len(wanted) - len(missing)} trainings are there, {len(missing)} to come", flush=True)
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for line in pool.imap_unordered(measured, missing):
            done[line["fingerprint"]] = line
            with options.out.open("a") as file:
                file.write(json.dumps(line) + "\n")
            form = "plain" if line["plain"] else "fast"
            print(f"seed {line['seed']} {form}: {line[keys.TEST_ACCURACY]:.4f}", flush=True)

    accuracy = {(s.seed, s.plain): done[s.fingerprint][keys.TEST_ACCURACY] for s in wanted}
    differences = [accuracy[seed, False] - accuracy[seed, True] for seed in range(options.seeds)]
    for plain in (False, True):
        mean = statistics.mean(accuracy[seed, plain] for seed in range(options.seeds))
        print(f"{'plain' if plain else 'fast'}: mean accuracy {mean:.4f}")
    if options.seeds > 1:
        error = statistics.stdev(differences) / options.seeds**0.5
        half = t.ppf((1 + CONFIDENCE) / 2, options.seeds - 1) * error
        print(
            f"fast - plain: {statistics.mean(differences):+.4f}, "
            f"{CONFIDENCE:.0%} interval +-{half:.4f}, n={options.seeds}"
        )


if __name__ == "__main__":
    main()
