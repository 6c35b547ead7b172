"""How often verdicts are wrong: synthetic stores of the whole grid, through selection and claims.

``python -m tests.benchmarks.calibration --stores 1000`` prints, for 1, 3 and 5 seeds, how many
stores without any effect have a false verdict, and how often known effects are found. Noise is as
in the recorded runs: by network and data set, cells of one training share it, and networks and
classifiers of one seed share their test images.
"""

import argparse
import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
from compare_runs import cuda_not_measured, evidence, expected, frame, row, select

from mnist_ops.compare.findings import all_findings, outcome
from mnist_ops.compare.findings.finding import Finding, Verdict
from mnist_ops.study.specs import ResNetSpec, Spec
from pipelines.paper import PAPER

PRESET = "paper"
EXPECTED = expected(PRESET)
CELLS = [spec for spec in EXPECTED if spec.device == "cpu"]
REASONS = cuda_not_measured(EXPECTED)
# Deviation between seeds in points, as of the recorded runs: that of the training, by model and
# data set, and that of the test images, which all networks of a seed share.
TRAINING = {
    ("resnet18", "MNIST"): 0.17,
    ("resnet50", "MNIST"): 0.35,
    ("resnet18", "FashionMNIST"): 0.40,
    ("resnet50", "FashionMNIST"): 0.95,
    ("svm", "MNIST"): 0.30,
    ("svm", "FashionMNIST"): 0.25,
}
IMAGES = {"MNIST": 0.09, "FashionMNIST": 0.25}
SVM_IMAGES = {"MNIST": 0.45, "FashionMNIST": 0.55}
ACCURACY = {"MNIST": 0.985, "FashionMNIST": 0.89}

# Claims that no effect is no evidence against, and counts.
LITTLE = ("2.8.4", "5.2.2b", "3.5.3", "4.5.3")
COUNTS = ("4.5.4", "code.1", "code.2", "code.3")

Effect = Callable[[Spec], float]


def none(spec: Spec) -> float:
    """No setting matters."""
    return 0.0


def of_small_networks(points: float) -> Effect:
    """ResNet-50 is worse by so many points, everywhere, and dearer."""
    return lambda spec: -points if spec.model == "resnet50" else 0.0


def findings(number: int, seeds: int, effect: Effect = none) -> list[Finding]:
    """Return the findings on store `number` with so many seeds a configuration."""
    specs = _specs(seeds)
    rows = list(_rows(specs, np.random.default_rng((number, seeds)), effect))
    cells = select(frame(rows), lambda preset: specs, REASONS, PRESET)
    return all_findings(evidence(cells), PAPER.claims)


@cache
def _specs(seeds: int) -> list[Spec]:
    """Return the cells of every store: what they remember of themselves is computed once."""
    return [dataclasses.replace(spec, seed=seed) for spec in CELLS for seed in range(seeds)]


def is_false(finding: Finding) -> bool:
    """Return whether a verdict on a store without any effect is wrong."""
    if finding.id in COUNTS:
        return False
    if finding.id in LITTLE:
        return finding.verdict == Verdict.REFUTED
    return finding.verdict in (Verdict.SUPPORTED, Verdict.REFUTED)


def _rows(
    specs: list[Spec], random: np.random.Generator, effect: Effect
) -> Iterator[dict[str, Any]]:
    images: dict[tuple[Any, ...], float] = {}
    trainings: dict[str, dict[str, float]] = {}
    for number, spec in enumerate(specs):
        deviations = IMAGES if isinstance(spec, ResNetSpec) else SVM_IMAGES
        split = (spec.dataset, spec.seed, spec.model == "svm")
        if split not in images:
            images[split] = random.normal(0, deviations[spec.dataset])
        training = trainings.setdefault(_training(spec), _drawn(spec, random))
        epochs = getattr(spec, "epochs", 0)
        noise = training["start"] if epochs == 2 else training["end"]
        accuracy = ACCURACY[spec.dataset] + (noise + images[split] + effect(spec)) / 100
        yield row(
            spec,
            PRESET,
            number,
            test_accuracy=accuracy,
            test_f1=accuracy,
            val_accuracy=accuracy + random.normal(0, 0.001),
            train_loss=float(np.exp(training["loss"] + random.normal(0, 0.02))),
            train_time_s=float(np.exp(training["time"] - effect(spec))),
        )


def _training(spec: Spec) -> str:
    """Return what cells of one training have in common."""
    if isinstance(spec, ResNetSpec):
        return spec.fit_group
    # On FashionMNIST both rules for gamma are one kernel.
    gamma = "scale" if spec.dataset == "FashionMNIST" else getattr(spec, "gamma", "")
    return dataclasses.replace(spec, gamma=gamma).fingerprint  # type: ignore[call-arg]


def _drawn(spec: Spec, random: np.random.Generator) -> dict[str, float]:
    """Return the noise of one training, after 2 epochs and after all of them."""
    deviation = TRAINING[spec.model, spec.dataset]
    end = random.normal(0, deviation)
    start = 0.5 * end + random.normal(0, deviation * np.sqrt(0.75))
    return {
        "start": start,
        "end": end,
        "loss": random.normal(0, 0.1),
        "time": random.normal(5, 0.1),
    }


def main() -> None:
    """Print the shares of stores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stores", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 3, 5])
    parser.add_argument("--effects", type=float, nargs="*", default=[0.5, 1.0, 2.0])
    given = parser.parse_args()
    # Neither changes a verdict, and they take most of the time.
    outcome.others = lambda contrast: ()
    print("| seeds | stores with a false verdict | claims |\n| --- | --- | --- |")
    for seeds in given.seeds:
        wrong, claims = 0, Counter[str]()
        for number in range(given.stores):
            false = [f"{f.id} {f.verdict}" for f in findings(number, seeds) if is_false(f)]
            wrong += bool(false)
            claims.update(false)
        named = ", ".join(f"{name} {count}" for name, count in claims.most_common())
        print(f"| {seeds} | {wrong} of {given.stores} ({wrong / given.stores:.1%}) | {named} |")
    print("\n| effect (points) | seeds | 5.2.1 supported | 2.8.1 supported |")
    print("| --- | --- | --- | --- |")
    for points in given.effects:
        for seeds in given.seeds:
            found = Counter[str]()
            for number in range(given.stores):
                judged = {f.id: f for f in findings(number, seeds, of_small_networks(points))}
                found.update(n for n, f in judged.items() if f.verdict == Verdict.SUPPORTED)
            shares = [f"{found[name] / given.stores:.0%}" for name in ("5.2.1", "2.8.1")]
            print(f"| {points:g} | {seeds} | {' | '.join(shares)} |")


if __name__ == "__main__":
    main()
